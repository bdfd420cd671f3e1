"""Who is calling is judged before what they send: at every door, whatever is wrong with the request."""

import gzip
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple, get_args

import msgspec
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.admission.memory import MemoryMeters
from chalicelib.call import Call
from chalicelib.engines.scripted import Step
from chalicelib.http.route import SEALED_TYPE, Route
from chalicelib.http.route_table import ROUTES
from chalicelib.identity.roles import PERMISSIONS
from chalicelib.pool import Target
from chalicelib.refusal import Malformed
from chalicelib.settings import Settings
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.key_text import mint, parse
from chalicelib.tenancy.tenant import Role, SurfaceName
from tests.api import signing
from tests.api.test_permissions import CHAT, Caller
from tests.examples import every, in_turn
from tests.small_deployments import Answer, Deployment, Gateway, Script, memory

GUARDED = [route for route in ROUTES if route.permission != "public"]
KEYED = [route for route in GUARDED if route.auth != "signed"]
MODELS = [route for route in ROUTES if route.infers]


class Wrong(NamedTuple):
    """What is wrong with a request, and its status where its sender may come in."""

    body: bytes = b""
    media_type: str = "application/json"
    coding: str = ""
    query: str = ""
    status: int = 400


WRONGS = {
    "no JSON": Wrong(b"{"),
    "another type": Wrong(b"[7]"),
    "no UTF-8": Wrong(b'{"a":"\xff"}'),
    "too deep": Wrong(b"[" * 100_000),
    "a media type": Wrong(b"{}x", media_type="text/plain"),
    "a coding": Wrong(b"{}", coding="br"),
    "no gzip": Wrong(b"{}", coding="gzip"),
    "too large": Wrong(b" " * (Settings().body_limit_bytes + 1), status=413),
    "too large, unpacked": Wrong(gzip.compress(b" " * (Settings().body_limit_bytes + 1)), coding="gzip", status=413),
    "a parameter": Wrong(b"", query="surprise=1"),
    "sealed, without headers": Wrong(b"x", media_type=SEALED_TYPE),
}


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def send(caller: Caller, route: Route, wrong: Wrong, key: str | None) -> Answer:
    path = caller.path(route.called)
    if wrong.query:
        path = f"{path}{'&' if '?' in path else '?'}{wrong.query}"
    headers = {"Content-Type": wrong.media_type, "X-Tenant-ID": "acme"}
    if wrong.coding:
        headers["Content-Encoding"] = wrong.coding
    return caller.gateway.call(route.method, path, key=key, body=wrong.body, headers=headers)


def strangers(deployment: Deployment, route: Route) -> dict[str, tuple[str | None, int]]:
    """Keys that do not open the door, and with which status."""
    admin = route.permission == "operate"
    tenant = PLATFORM_TENANT if admin else "acme"
    revoked = deployment.key(tenant)
    token = parse(revoked)
    assert token is not None
    deployment.tenancy.revoke_key(tenant, token.key_id)
    found: dict[str, tuple[str | None, int]] = {
        "none": (None, 401),
        "nonsense": ("sk-1", 401),
        "unknown": (mint(tenant, bytes(37)).text, 401),
        "revoked": (revoked, 401),
        "expired": (deployment.key(tenant, expires_ms=deployment.clock()), 401),
    }
    if "{tenant}" in route.path or route.surface == "native":
        found["another tenant's"] = (deployment.key("bolt"), 403 if admin else 404)
    needed = "infer" if route.infers else route.permission
    for role in get_args(Role):
        if admin or needed not in PERMISSIONS[role]:
            found[role] = (deployment.key("acme", role), 403)
    if not (route.for_sealers or route.for_every_surface):
        elsewhere = next(name for name in get_args(SurfaceName) if name not in (route.surface, "anthropic"))
        found["narrowed"] = (deployment.key(tenant, surfaces=(elsewhere,)), 403)
    return found


def test_the_tables_cover_every_kind_of_door() -> None:
    assert {route.auth for route in GUARDED} == {"key", "signed", "signed_or_key"}
    assert {route.shape for route in MODELS} == {"problem", "openai", "anthropic", "bedrock"}


@in_turn("route", KEYED)
def test_a_stranger_hears_that_they_are_one_whatever_they_send(caller: Caller, route: Route) -> None:
    whoever = strangers(caller.deployment, route)
    for who, what in every(list(product(whoever, WRONGS)), KEYED.index(route)):
        if what.startswith("too large") and who not in ("none", "unknown", "viewer"):
            continue  # they take long, and are refused at one place
        key, status = whoever[who]
        answer = send(caller, route, WRONGS[what], key)
        assert answer.status == status, (who, what, answer.body)


@pytest.mark.parametrize(
    "route",
    [route for route in GUARDED if route.auth == "signed" and route.permission != "operate"],
    ids=lambda route: route.name,
)
def test_a_signer_of_nobody_hears_that_they_are_one_whatever_they_send(caller: Caller, route: Route) -> None:
    path = caller.path(route.called)
    for wrong in (Wrong(b"{"), Wrong(b"[7]"), Wrong(b"{}", media_type="text/plain"), Wrong(query="surprise=1")):
        where = f"{path}?{wrong.query}" if wrong.query else path
        sent = {"Content-Type": wrong.media_type}
        refused = signing.call(caller.gateway, route.method, where, wrong.body, sent)
        assert (refused.status, b"belongs to no tenant" in refused.body) == (403, True), refused.body
    caller.deployment.tenancy.principals.put("acme", [signing.OWNER.arn])
    if route.closed_query:
        assert signing.call(caller.gateway, route.method, f"{path}?surprise=1", b"").status == 400


@in_turn("route", KEYED)
def test_who_may_come_in_hears_what_is_wrong(caller: Caller, route: Route) -> None:
    key = caller.deployment.key(PLATFORM_TENANT if route.permission == "operate" else "acme")
    for what in every(list(WRONGS), KEYED.index(route)):
        wrong = WRONGS[what]
        if route.shape == "bedrock" and what in ("no UTF-8", "sealed, without headers"):
            continue  # AWS's SDKs call any body so, and what stands in it is the model's to say
        if wrong.query and not wrong.body and not route.closed_query:
            continue  # let pass there, and some take no body for an empty one
        answer = send(caller, route, wrong, key)
        assert answer.status == wrong.status, (what, answer.body)


@pytest.mark.parametrize("route", MODELS, ids=lambda route: route.name)
def test_whoever_was_let_in_once_is_judged_again(caller: Caller, route: Route) -> None:
    """What a gateway remembers of a key does not outlive it, though nothing is admitted that would say so."""
    if route.auth == "signed":
        return
    key = caller.deployment.key()
    assert caller(route.called, key).status == 200
    token = parse(key)
    assert token is not None
    caller.deployment.tenancy.revoke_key("acme", token.key_id)
    assert send(caller, route, WRONGS["no JSON"], key).status == 401
    caller.deployment.tenancy.change_tenant("acme", Change(status="suspended"))
    assert send(caller, route, WRONGS["no JSON"], caller.deployment.key()).status == 403


class CountingMeters(MemoryMeters):
    """Tells how often the epoch was read: once by whoever wants to know a tenant afresh."""

    reads = 0

    def read(self, tenant: str) -> int:
        self.reads += 1
        return super().read(tenant)


def _refusing(_target: Target, _call: Call) -> Iterable[Step]:
    return (Malformed("It does not fit.", field="messages"),)


@pytest.mark.parametrize(
    ("script", "body", "status", "reads"),
    [
        (None, CHAT, 200, 0),
        (_refusing, CHAT, 400, 0),  # the model's server says so: whoever was admitted is known
        (None, {**CHAT, "messages": 7}, 400, 1),
        (None, {"messages": []}, 400, 1),
    ],
)
def test_only_a_malformed_request_costs_a_read(
    gateway: Gateway, script: Script | None, body: dict[str, Any], status: int, reads: int
) -> None:
    meters = CountingMeters()
    deployment = Deployment(msgspec.structs.replace(memory(), meters=meters), script)
    deployment.pool("model-a", "a")
    deployment.tenant("acme")
    key = deployment.key("acme")
    path = "/tenants/acme/v1/chat/completions"
    with wiring.opening_into(deployment.rooms()):
        gateway.call("POST", path, key=key, json=CHAT)  # now the gateway knows them
        before = meters.reads
        assert gateway.call("POST", path, key=key, json=body).status == status
        assert meters.reads - before == reads
