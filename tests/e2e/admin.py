"""What an operator does to a running system, over its admin surface."""

import json
import urllib.error
import urllib.request
from typing import Any, Protocol

from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S, until


class Served(Protocol):
    """A gateway somewhere."""

    @property
    def base_url(self) -> str: ...


def http(
    method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, raw: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request. Status, headers (names in lower case), body."""
    content = raw if raw is not None else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, content, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def admin(system: RunningSystem, method: str, path: str, body: Any = None) -> Any:
    status, _, answer = http(method, f"{system.base_url}/admin{path}", body, bearer(system.admin_key))
    assert status < 300, answer
    return json.loads(answer) if answer else None


def new_tenant(system: RunningSystem, name: str, **more: Any) -> str:
    """A tenant of the test's own; an owner's key."""
    pools = ["demo", "demo-direct", "demo-multi", "embed"]
    admin(system, "POST", "/tenants", {"id": name, "name": name, "pools": pools, **more})
    key: str = admin(system, "POST", f"/tenants/{name}/keys", {"role": "owner"})["api_key"]
    return key


def entries(system: Served, tenant: str, key: str) -> list[dict[str, Any]]:
    """The tenant's ledger, newest first."""
    status, _, answer = http("GET", f"{system.base_url}/tenants/{tenant}/requests", None, bearer(key))
    assert status == 200, answer
    found: list[dict[str, Any]] = json.loads(answer)["entries"]
    return found


def in_flight(system: Served, tenant: str, key: str) -> int:
    status, _, answer = http("GET", f"{system.base_url}/tenants/{tenant}/usage", None, bearer(key))
    assert status == 200, answer
    count: int = json.loads(answer)["in_flight"]
    return count


def settled(system: Served, tenant: str, key: str, count: int) -> list[dict[str, Any]]:
    """The ledger once it holds `count` entries and nothing is in flight; a gateway notices a leaver within moments."""
    return until(
        lambda: entries(system, tenant, key),
        lambda found: len(found) >= count and in_flight(system, tenant, key) == 0,
    )
