"""Every route, every role, every scope. A new route fails here until it is written down who may use it."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.api import native
from chalicelib.documents import Document
from chalicelib.http.route import ForNarrowed, Route
from chalicelib.http.route_table import ROUTES
from chalicelib.identity.roles import PERMISSIONS
from chalicelib.privacy.records import Erasure, Erasures
from chalicelib.status.incidents import STATUS, Incidents, NewIncident
from chalicelib.status.maintenance import Maintenance, NewWindow
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.key_text import mint, parse
from chalicelib.tenancy.tenant import Role, SurfaceName, VelocityRule
from chalicelib.velocity.reviews import Evidence, Reviews
from chalicelib.velocity.whose import operators
from tests.api import signing
from tests.api.begun import begun
from tests.api.paths import OF_PLACES
from tests.examples import in_turn
from tests.small_deployments import T0, Answer, Deployment, Gateway
from tests.tickets.sealers import Sealer, base64_of, id_of

ALL = frozenset(get_args(Role))
NOBODY: frozenset[str] = frozenset()
USAGE = frozenset(("owner", "developer", "analyst"))
INFER = frozenset(("owner", "developer"))
OWNER = frozenset(("owner",))


class Row(msgspec.Struct, frozen=True):
    """Who of a tenant may use a route, and a request that succeeds."""

    roles: frozenset[str]
    surface: str  # "any": a key reaches it whichever surface it is narrowed to; "signers": no key does
    body: Mapping[str, Any] | None = None
    success: int = 200
    own: bool = False  # who does not manage members does it with what is their own; anything else is not there
    for_narrowed: ForNarrowed = "within"  # what a narrowed key may: see test_narrowed_keys.py


ISSUER = {"url": "https://login.example.com/pool", "audiences": ["cloister"]}
DENIED = {"network": "203.0.113.0/24", "reason": "tries keys"}
VELOCITY = {"what": "addresses", "most": 20}
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {**CHAT, "max_tokens": 8}
RESPONSE = {"model": "model-a", "input": "hi"}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
POOL = {"name": "model-a", "targets": [{"name": "a", "engine": "scripted"}]}
WATCHED = {"id": "model-a", "name": "Model A", "watches": "pools", "pools": ["model-a"]}
UPDATE = {"step": "resolved", "text": "Well."}
MAINTAINED = {
    "title": "New GPUs", "text": "Soon.", "components": ["model-a"], "begins_ms": T0 + 60_000, "ends_ms": T0 + 120_000
}  # fmt: skip
CLOSED: Mapping[str, Any] = {"for_narrowed": "closed"}
COVERING: Mapping[str, Any] = {"for_narrowed": "covering"}

TABLE = {
    "POST /inference": Row(INFER, "native", {"model": "model-a", "prompt": "hi"}),
    "POST /tenants/{tenant}/v1/chat/completions": Row(INFER, "openai", CHAT),
    "POST /tenants/{tenant}/v1/chat": Row(INFER, "openai", CHAT),
    "POST /tenants/{tenant}/v1/completions": Row(INFER, "openai", {"model": "model-a", "prompt": "hi"}),
    "POST /tenants/{tenant}/v1/embeddings": Row(INFER, "openai", {"model": "model-a", "input": "hi"}),
    "POST /tenants/{tenant}/v1/messages": Row(INFER, "anthropic", MESSAGE),
    "POST /tenants/{tenant}/v1/messages/count_tokens": Row(INFER, "anthropic", CHAT),
    "POST /tenants/{tenant}/v1/responses": Row(INFER, "openai", RESPONSE),
    "GET /tenants/{tenant}/v1/responses/{response}": Row(INFER, "openai"),
    "DELETE /tenants/{tenant}/v1/responses/{response}": Row(INFER, "openai"),
    "GET /tenants/{tenant}/v1/responses/{response}/input_items": Row(INFER, "openai"),
    "GET /tenants/{tenant}/v1/models": Row(ALL, "openai"),
    "GET /tenants/{tenant}/v1/models/{model}": Row(ALL, "openai"),
    "GET /tenants/{tenant}": Row(USAGE, "management"),
    **{f"GET /tenants/{{tenant}}/v1/{what}": Row(USAGE, "management") for what in ("usage", "limits", "requests")},
    "GET /tenants/{tenant}/usage": Row(USAGE, "management"),
    "GET /tenants/{tenant}/requests": Row(USAGE, "management"),
    "GET /tenants/{tenant}/events": Row(USAGE, "management"),
    "GET /tenants/{tenant}/audit/entries": Row(USAGE, "management"),
    "GET /tenants/{tenant}/audit/heads": Row(USAGE, "management"),
    "GET /v1/dashboard/requests": Row(USAGE, "signed"),
    "POST /v1/bedrock/invoke-model": Row(NOBODY, "signed", {"modelId": "m", "body": {}}),
    "GET /v1/bedrock/models": Row(NOBODY, "signed"),
    **{
        f"POST {base}/v1/bedrock/model/{{model}}/{way}": Row(roles, surface, CONVERSE if "converse" in way else MESSAGE)
        for base, roles, surface in (("", NOBODY, "signed"), ("/tenants/{tenant}", INFER, "bedrock"))
        for way in ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
    },
    "GET /tenants/{tenant}/keys": Row(OWNER, "management"),
    "POST /tenants/{tenant}/keys": Row(OWNER, "management", {"role": "viewer"}, 201, **COVERING),
    "DELETE /tenants/{tenant}/keys/{key}": Row(OWNER, "management", **COVERING),
    "POST /tenants/{tenant}/keys/{key}/rotate": Row(OWNER, "management", {"grace_s": 60}, 201, **COVERING),
    "GET /tenants/{tenant}/members": Row(OWNER, "management"),
    "PUT /tenants/{tenant}/members/{subject}": Row(OWNER, "management", {"role": "viewer"}, **CLOSED),
    "DELETE /tenants/{tenant}/members/{subject}": Row(OWNER, "management", None, 204, **CLOSED),
    "GET /tenants/{tenant}/guardrails": Row(OWNER, "management"),
    "PUT /tenants/{tenant}/guardrails": Row(OWNER, "management", {"packs": ["cards"]}, **CLOSED),
    "GET /tenants/{tenant}/velocity": Row(OWNER, "management"),
    "PUT /tenants/{tenant}/velocity": Row(OWNER, "management", {"rules": [VELOCITY]}, **CLOSED),
    "GET /tenants/{tenant}/issuers": Row(OWNER, "management"),
    "PUT /tenants/{tenant}/issuers": Row(OWNER, "management", {"issuers": [ISSUER]}, **CLOSED),
    "GET /tenants/{tenant}/sources": Row(OWNER, "management"),
    "PUT /tenants/{tenant}/sources": Row(OWNER, "management", {"sources": ["127.0.0.0/8"]}, **CLOSED),
    "DELETE /tenants/{tenant}/data": Row(OWNER, "management", None, 202, **CLOSED),
    "GET /tenants/{tenant}/data/{job}": Row(USAGE, "management"),
    "DELETE /admin/tenants/{tenant}/data": Row(NOBODY, "admin", None, 202, **CLOSED),
    "GET /admin/erasures": Row(NOBODY, "admin"),
    "GET /tenants/{tenant}/roles": Row(OWNER, "management"),
    "PUT /tenants/{tenant}/roles": Row(OWNER, "management", {"roles": {"chatter": {"base": "viewer"}}}, **CLOSED),
    "GET /tenants/{tenant}/sessions": Row(ALL, "management"),
    "DELETE /tenants/{tenant}/sessions/{session}": Row(ALL, "management", None, 204, own=True, **CLOSED),
    "DELETE /tenants/{tenant}/membership": Row(ALL, "any", None, 403),  # a key may be lent
    "POST /tenants/{tenant}/session/renew": Row(ALL, "any", None, 403),  # a key is not renewed
    "GET /tenants/{tenant}/kms-keys": Row(OWNER, "management"),
    "POST /tenants/{tenant}/kms-keys": Row(OWNER, "management", {"key_arn": "{arn}"}, 201, **CLOSED),
    "PUT /tenants/{tenant}/kms-keys/{key}": Row(OWNER, "management", {"proof": "{proof}"}, **CLOSED),
    "DELETE /tenants/{tenant}/kms-keys/{key}": Row(OWNER, "management", None, 204, **CLOSED),
    "POST /tenants/{tenant}/kms-keys/{key}/probe": Row(OWNER, "management", {"nonce": "AAAA", "ciphertext": "AAAA"}),
    "PUT /tenants/{tenant}/sealing": Row(OWNER, "management", {"auth": "api_key"}, **CLOSED),
    "GET /tenants/{tenant}/attestation": Row(ALL, "any"),
    "GET /admin/key-epochs": Row(NOBODY, "admin"),
    "POST /admin/key-epochs": Row(NOBODY, "admin", {"lifetime_s": 3_600}, 201, **CLOSED),
    "GET /admin/tenants": Row(NOBODY, "admin"),
    "POST /admin/tenants": Row(NOBODY, "admin", {"id": "cora", "name": "Cora"}, 201, **CLOSED),
    "GET /admin/tenants/{tenant}": Row(NOBODY, "admin"),
    "PATCH /admin/tenants/{tenant}": Row(NOBODY, "admin", {"priority": 1}, **CLOSED),
    "GET /admin/tenants/{tenant}/usage": Row(NOBODY, "admin"),
    "GET /admin/tenants/{tenant}/requests": Row(NOBODY, "admin"),
    "GET /admin/tenants/{tenant}/events": Row(NOBODY, "admin"),
    "GET /admin/tenants/{tenant}/keys": Row(NOBODY, "admin"),
    "POST /admin/tenants/{tenant}/keys": Row(NOBODY, "admin", {"role": "owner"}, 201, **COVERING),
    "DELETE /admin/tenants/{tenant}/keys/{key}": Row(NOBODY, "admin", **COVERING),
    "POST /admin/tenants/{tenant}/break-glass": Row(
        NOBODY, "signers", {"reason": "No owner answers."}, 201, **COVERING
    ),
    "GET /admin/tenants/{tenant}/principals": Row(NOBODY, "admin"),
    "PUT /admin/tenants/{tenant}/principals": Row(
        NOBODY, "admin", {"principals": ["arn:aws:iam::111122223333:role/x"]}, **CLOSED
    ),
    "DELETE /admin/tenants/{tenant}/principals": Row(NOBODY, "admin", None, 204, **CLOSED),
    "DELETE /admin/tenants/{tenant}/sources": Row(NOBODY, "admin", None, 204, **CLOSED),
    "GET /admin/tenants/{tenant}/velocity": Row(NOBODY, "admin"),
    "PUT /admin/tenants/{tenant}/velocity": Row(NOBODY, "admin", {"rules": [VELOCITY]}, **CLOSED),
    "GET /admin/tenants/{tenant}/bedrock-guardrails": Row(NOBODY, "admin"),
    "PUT /admin/tenants/{tenant}/bedrock-guardrails": Row(NOBODY, "admin", {"guardrails": []}, **CLOSED),
    "GET /admin/velocity": Row(NOBODY, "admin"),
    "PUT /admin/velocity": Row(NOBODY, "admin", {"rules": [{"what": "tenants", "most": 50}]}, **CLOSED),
    "GET /admin/reputation": Row(NOBODY, "admin"),
    "PUT /admin/reputation": Row(NOBODY, "admin", {"entries": [DENIED]}, **CLOSED),
    "GET /admin/reviews": Row(NOBODY, "admin"),
    "POST /admin/tenants/{tenant}/reviews/{review}/{step}": Row(NOBODY, "admin", {"reason": "seen"}, **CLOSED),
    "GET /admin/status/components": Row(NOBODY, "admin"),
    "PUT /admin/status/components": Row(NOBODY, "admin", {"components": [WATCHED]}, **CLOSED),
    "GET /admin/status/incidents": Row(NOBODY, "admin"),
    "POST /admin/status/incidents": Row(NOBODY, "admin", {"title": "It broke", "text": "We look."}, 201, **CLOSED),
    "POST /admin/status/incidents/{incident}/updates": Row(NOBODY, "admin", UPDATE, 201, **CLOSED),
    "GET /admin/status/maintenance": Row(NOBODY, "admin"),
    "POST /admin/status/maintenance": Row(NOBODY, "admin", MAINTAINED, 201, **CLOSED),
    "DELETE /admin/status/maintenance/{window}": Row(NOBODY, "admin", None, 204, **CLOSED),
    "GET /admin/pools": Row(NOBODY, "admin"),
    "GET /admin/pools/{pool}": Row(NOBODY, "admin"),
    "PUT /admin/pools/{pool}": Row(NOBODY, "admin", POOL, **CLOSED),
    "DELETE /admin/pools/{pool}": Row(NOBODY, "admin", None, 204, **CLOSED),
    "POST /signin/token": Row(ALL, "public", {"email": "ada@acme.example", "password": "Right-1234"}, 404),
    "GET /signin/terminal": Row(ALL, "public", None, 404),  # the operator has named no client for it
    "POST /signin/{tenant}/join": Row(ALL, "public", {"token": "eyJ"}, 401),
    "GET /signin/{tenant}": Row(ALL, "public", None, 404),  # the operator has named no client for it
    "GET /signin/callback": Row(ALL, "public", None, 401),
    "POST /signin/{tenant}/out": Row(ALL, "public"),
    "GET /live": Row(ALL, "public"),
    "GET /ready": Row(ALL, "public"),
    "GET /health": Row(ALL, "public"),
    "GET /": Row(ALL, "public"),
    "GET /docs": Row(ALL, "public"),
    "GET /docs/redoc.js": Row(ALL, "public"),
    "GET /openapi.json": Row(ALL, "public"),
    "GET /status": Row(ALL, "public"),
    "POST /status/subscriptions": Row(ALL, "public", {"email": "ada@acme.example"}, 404),  # nobody is mailed here
    "GET /status/subscriptions/{link}": Row(ALL, "public", None, 404),
    "POST /status/subscriptions/{link}": Row(ALL, "public", {}, 404),
    "GET /status.json": Row(ALL, "public"),
    "GET /problems": Row(ALL, "public"),
    "GET /problems/{name}": Row(ALL, "public"),
    "POST /signup": Row(ALL, "public", success=404),
}


def status_for(route: str, role: str) -> int:
    """What a key of this role is answered."""
    row = TABLE[route]
    if role not in row.roles:
        return 403
    return 404 if row.own and role != "owner" else row.success


TENANTS = [route for route, row in TABLE.items() if row.surface not in ("admin", "signers", "signed", "public")]
ADMINS = [route for route, row in TABLE.items() if row.surface == "admin"]
SIGNED = [route for route, row in TABLE.items() if row.surface == "signed"]
PUBLICS = [route for route, row in TABLE.items() if row.surface == "public"]


class Caller:
    """Sends the request of a row, with whatever its path names in place."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        deployment.tenancy.people.put("acme", "ada", "owner")
        deployment.tenancy.people.put("acme", "bob", "developer")
        rule, evidence = VelocityRule("addresses", 20), Evidence("acme", "key:a", "192.0.2.1")
        Reviews(deployment.store.documents).tell(operators("acme"), rule, evidence, deployment.clock())
        assert deployment.contents is not None
        kept = {"about": b'{"pool":"model-a"}', "asked": b"[]", "response": b'{"id":"resp_kept","output":[]}'}
        deployment.contents.keep("acme", "resp_kept", kept, deployment.clock() + 60_000)
        deployment.store.documents.put(Document(STATUS, "components", msgspec.json.encode([WATCHED]).decode()))
        incidents, maintenance = Incidents(deployment.store.documents), Maintenance(deployment.store.documents)
        self.incident = incidents.open(NewIncident("It broke", "We look."), (), "a1", deployment.clock()).id
        window = msgspec.convert(MAINTAINED, NewWindow)
        self.window = maintenance.announce(window, {"model-a"}, "a1", deployment.clock()).id
        Erasures(deployment.store.documents).begin(Erasure("acme", "job", "owner", deployment.clock()))
        token = parse(deployment.key("acme", "viewer"))
        assert token is not None
        self.spare = token.key_id
        self.session = begun(deployment)[0].id
        kms = Sealer(gateway, deployment).kms
        self._arn, self._waiting, secret = kms.key(), kms.key(), b"secret"
        self._proof = base64_of(kms.encrypt(self._waiting, secret, tenant_id="acme", purpose="cloister-key-proof"))
        deployment.tenancy.kms_keys.register("acme", self._arn)
        deployment.tenancy.kms_keys.challenge("acme", self._waiting, hashlib.sha256(secret).hexdigest())

    def path(self, route: str, tenant: str = "acme") -> str:
        method, _, path = route.partition(" ")
        key = self.spare
        if "/kms-keys" in path:
            key = id_of(self._waiting if method == "PUT" else self._arn)
        names = {**OF_PLACES, "tenant": tenant, "key": key, "subject": "bob", "model": "model-a", "pool": "model-a"}
        names |= {"response": "resp_kept", "session": self.session, "incident": self.incident, "window": self.window}
        names |= {"link": "leave.x.y", "job": "job", "name": "not-found"}
        query = "?nonce=AAAA" if path.endswith("/attestation") else "?day=2026-11-18" if "/audit/" in path else ""
        query = f"?confirm={tenant}" if path.endswith("/data") else query
        return path.format(**names) + query

    def body(self, route: str) -> dict[str, Any] | None:
        filled = {"{arn}": self._waiting, "{proof}": self._proof}
        body = TABLE[route].body
        return None if body is None else {name: filled.get(str(value), value) for name, value in body.items()}

    def __call__(
        self, route: str, key: str | None, *, tenant: str = "acme", headers: Mapping[str, str] | None = None
    ) -> Answer:
        row, method = TABLE[route], route.partition(" ")[0]
        sent = {"X-Request-ID": "fixed", **(headers or {})}
        if row.surface == "native":
            sent["X-Tenant-ID"] = tenant
        return self.gateway.call(method, self.path(route, tenant), key=key, json=self.body(route), headers=sent)

    def signing(self, route: str) -> Answer:
        method, path = route.partition(" ")[0], self.path(route)
        body = b"" if TABLE[route].body is None else msgspec.json.encode(TABLE[route].body)
        return signing.call(self.gateway, method, path, body, {"Content-Type": "application/json"})


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def test_every_route_is_in_the_table() -> None:
    assert {route.called for route in ROUTES} == set(TABLE)


@in_turn("route", ROUTES)
def test_every_route_declares_what_its_table_row_says(route: Route) -> None:
    """A route that declares no permission does not come into being: `door` takes none without."""
    row = TABLE[route.called]
    assert route.for_narrowed == row.for_narrowed
    if row.surface in ("admin", "signers", "public"):
        declared = {
            "admin": ("signed_or_key", "operate"), "signers": ("signed", "operate"), "public": ("none", "public")
        }[row.surface]  # fmt: skip
        assert (route.auth, route.permission) == declared
        return
    assert route.auth in (("signed", "signed_or_key") if row.surface == "signed" else ("key",))
    holders = {role for role, held in PERMISSIONS.items() if route.permission in held}
    assert row.roles == (NOBODY if route.auth == "signed" else holders)  # no key will do there, whatever its role


def test_a_door_without_a_permission_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="permission"):
        native.surface.door("GET", "/inference", summary="Nobody said who may")  # type: ignore[call-arg]


def test_a_door_that_changes_something_cannot_be_declared_without_what_a_narrowed_key_may() -> None:
    with pytest.raises(AssertionError, match="narrowed"):
        native.surface.door("PUT", "/inference", permission="keys.manage", summary="New")(lambda _, __: None)


@pytest.mark.parametrize("route", TENANTS)
def test_a_key_reaches_only_the_surfaces_that_it_is_narrowed_to(caller: Caller, route: str) -> None:
    row = TABLE[route]
    for surface in get_args(SurfaceName):
        key = caller.deployment.key("acme", "owner", surfaces=(surface,))
        answer = caller(route, key)
        if row.surface not in (surface, "any"):
            assert answer.status == 403, (surface, answer.body)
        elif row.for_narrowed == "within":
            assert answer.status == row.success, answer.body


@pytest.mark.parametrize("route", TENANTS)
def test_a_key_is_worth_nothing_at_another_tenant_whether_that_exists_or_not(caller: Caller, route: str) -> None:
    if TABLE[route].surface == "management":
        caller.deployment.tenancy.change_tenant("bolt", Change(status="suspended"))
    for role in get_args(Role):
        key = caller.deployment.key("acme", role)
        answers = [caller(route, key, tenant=tenant) for tenant in ("bolt", "nobody", PLATFORM_TENANT, "~platform")]
        assert {answer.status for answer in answers} == {404}
        assert len({answer.body for answer in answers}) == 1
        assert len({frozenset(_lasting(answer).items()) for answer in answers}) == 1
        assert b"bolt" not in answers[0].body


@in_turn("route", [*TENANTS, *ADMINS])
def test_worthless_credentials_get_one_answer(caller: Caller, route: str) -> None:
    deployment = caller.deployment
    tenant = "acme" if route in TENANTS else PLATFORM_TENANT
    expired = deployment.key(tenant, expires_ms=deployment.clock())
    revoked = deployment.key(tenant)
    token = parse(revoked)
    assert token is not None
    deployment.tenancy.revoke_key(tenant, token.key_id)
    wrong = f"ck_{token.key_id}_{'A' * 43}"
    unknown, nobody = mint(tenant, bytes(37)).text, mint("nobody", bytes(37)).text
    answers = [caller(route, key) for key in (None, "", "sk-1", expired, revoked, wrong, unknown, nobody)]
    answers += [caller(route, None, headers=headers) for headers in ({"X-API-Key": expired}, {"Authorization": "x"})]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert len({frozenset(_lasting(answer).items()) for answer in answers}) == 1


@in_turn("route", [route for route in TENANTS if TABLE[route].surface == "management"])
def test_nothing_is_said_of_a_managing_body_before_its_sender_is_known(caller: Caller, route: str) -> None:
    method = route.partition(" ")[0]
    assert caller.gateway.call(method, caller.path(route), body=b"{").status == 401


@pytest.mark.parametrize("route", ADMINS)
def test_the_admin_surface_is_the_operators_alone(caller: Caller, route: str) -> None:
    deployment = caller.deployment
    for role in get_args(Role):
        assert caller(route, deployment.key("acme", role)).status == 403
        if role != "owner":
            assert caller(route, deployment.key(PLATFORM_TENANT, role)).status == 403
    answer = caller(route, deployment.key(PLATFORM_TENANT))
    assert answer.status == TABLE[route].success, answer.body


@pytest.mark.parametrize("route", ADMINS)
def test_the_admin_surface_opens_to_a_signed_request(caller: Caller, route: str) -> None:
    answer = caller.signing(route)
    assert answer.status == TABLE[route].success, answer.body


@pytest.mark.parametrize("route", SIGNED)
def test_what_must_be_signed_takes_keys_only_of_the_roles_in_its_row(caller: Caller, route: str) -> None:
    for role in get_args(Role):
        answer = caller(route, caller.deployment.key("acme", role))
        assert answer.status == (TABLE[route].success if role in TABLE[route].roles else 403), answer.body
    assert caller(route, None).status == (401 if TABLE[route].roles else 403)


@pytest.mark.parametrize("route", SIGNED)
def test_what_must_be_signed_is_open_to_principals_of_a_tenant_alone(caller: Caller, route: str) -> None:
    refused = caller.signing(route)
    assert (refused.status, b"belongs to no tenant" in refused.body) == (403, True)
    caller.deployment.tenancy.principals.put("acme", [signing.OWNER.arn])
    assert caller.signing(route).status in (200, 404)  # 404: it has no pool of Bedrock models


@in_turn("route", PUBLICS)
def test_what_is_public_takes_any_credential_or_none(caller: Caller, route: str) -> None:
    for key in (None, "sk-1", caller.deployment.key("acme", "viewer")):
        assert caller(route, key).status == TABLE[route].success


def _lasting(answer: Answer) -> dict[str, str]:
    """The headers without what differs by nature."""
    return {name: value for name, value in answer.headers.items() if name not in ("date", "x-trace-id")}
