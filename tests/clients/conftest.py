"""Where clients are run: tenants of their own on the running system."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.clients import weather_model
from tests.clients.programs import Asking, Programs
from tests.e2e.admin import admin, bearer, http, new_tenant
from tests.e2e.local_bedrock import command
from tests.engines.servers import serving
from tests.local_system import RunningSystem

POOLS = ["demo", "claude", "nova", "clients-weather"]
HOUR_MS = 3_600_000


class Place(NamedTuple):
    """Three tenants: one that may ask, one that has reached a rate, one that has spent its budget."""

    system: RunningSystem
    asking: tuple[str, str]  # a tenant's address and a key
    hurried: tuple[str, str]
    broke: tuple[str, str]

    def refused(self, kind: str) -> tuple[str, str, str]:
        """The address, key and model of what is refused in this way."""
        url, key = self.asking
        return {
            "wrong_key": (url, "ck_clients.aaaaaaaa_" + "x" * 43, "demo"),
            "wrong_model": (url, key, "no-such-model"),
            "rate_reached": (*self.hurried, "clients-weather"),
            "budget_spent": (*self.broke, "clients-weather"),
        }[kind]

    def bedrock_says(self, *answers: list[dict[str, Any]]) -> None:
        """The next answers of the local Bedrock, whichever model is asked."""
        command(self.system, do="reset")
        for blocks in answers:
            command(self.system, do="say", blocks=blocks)


@pytest.fixture(scope="module")
def place(running_system: RunningSystem) -> Iterator[Place]:
    def tenant(name: str, **more: Any) -> tuple[str, str]:
        key = new_tenant(running_system, name, pools=POOLS, **more)
        return f"{running_system.base_url}/tenants/{name}", key

    with serving(weather_model.answer) as server:
        target = {"name": "weather", "engine": "openai_compatible", "url": f"{server.root}/v1"}
        admin(running_system, "PUT", "/pools/clients-weather", {"name": "clients-weather", "targets": [target]})
        rate = {"name": "slow", "unit": "requests", "count": 1, "period_ms": HOUR_MS, "burst": 2}
        budget = {"name": "own", "unit": "requests", "limit": 1, "window": "month", "source": "tenant"}
        place = Place(
            running_system,
            tenant("clients"),
            tenant("clients-hurried", limits={"rates": [rate], "budgets": [], "in_flight": 4}),
            tenant("clients-broke", limits={"rates": [], "budgets": [budget], "in_flight": 4}),
        )
        for limited in (place.hurried, place.broke):
            exhaust(*limited)
        yield place
        command(running_system, do="reset")
        for name in ("clients", "clients-hurried", "clients-broke"):
            admin(running_system, "PATCH", f"/tenants/{name}", {"pools": []})
        admin(running_system, "DELETE", "/pools/clients-weather")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    programs = Programs(lambda: tmp_path_factory.mktemp("program"))
    yield programs
    programs.close()


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, programs: Programs) -> Asking:
    """As wide, so that all tests of a client follow each other."""
    return programs.of(request.param)


def exhaust(url: str, key: str) -> None:
    """Ask until a limit is reached, and not for a moment only: a burst comes whole after the slack of the meters."""
    body = {"model": "clients-weather", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    wait_s = 0
    while wait_s < 60:
        _, headers, _ = http("POST", f"{url}/v1/chat/completions", body, bearer(key))
        wait_s = int(headers.get("retry-after", 0))
