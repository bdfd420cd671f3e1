"""What clients send besides what an API's page says: at every door, it is understood as it was meant."""

import gzip
import json
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anthropic
import openai
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.http.ids import Ids
from chalicelib.http.incoming import Incoming, incoming
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.refusal import Malformed, TooLarge
from chalicelib.sight import UNTRACED
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.key_text import mint, parse
from tests.api import signing
from tests.api.test_error_shapes import shape_of
from tests.api.test_permissions import TABLE, Caller
from tests.examples import in_turn
from tests.small_deployments import Answer, Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
CHATS = "/tenants/acme/v1/chat/completions"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GETS = [route for route in TABLE if route.startswith("GET ")]
WITH_BODIES = [route for route, row in TABLE.items() if row.body is not None]


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    deployment.tenancy.principals.put("acme", [signing.OWNER.arn])
    with wiring.opening_into(deployment.rooms()):
        yield caller


def key_for(caller: Caller, route: str) -> str:
    return caller.deployment.key(PLATFORM_TENANT if TABLE[route].surface == "admin" else "acme")


def sent(caller: Caller, route: str, method: str, key: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """By whoever may."""
    row, path = TABLE[route], caller.path(route)
    own = {"Content-Type": "application/json", "X-Tenant-ID": "acme", "X-Request-ID": "fixed", **headers}
    if row.surface in ("signed", "signers"):
        return signing.call(caller.gateway, method, path, body, own)
    return caller.gateway.call(method, path, key=key, body=body or None, headers=own)


Wrapping = tuple[Callable[[bytes], bytes], dict[str, str]]

WRAPPINGS: dict[str, Wrapping] = {
    "a byte-order mark": (lambda body: BYTE_ORDER_MARK + body, {}),
    "gzip": (gzip.compress, {"Content-Encoding": "gzip"}),
    "gzip of a byte-order mark": (lambda body: gzip.compress(BYTE_ORDER_MARK + body), {"Content-Encoding": "gzip"}),
}
SPELLINGS: dict[str, Wrapping] = {
    "in capitals": (gzip.compress, {"Content-Encoding": "GZIP"}),
    "by its old name": (gzip.compress, {"Content-Encoding": " x-gzip "}),
    "in a list": (gzip.compress, {"Content-Encoding": "identity, gzip"}),
    "identity": (bytes, {"Content-Encoding": "identity"}),
    "nothing": (bytes, {"Content-Encoding": ""}),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("route", WITH_BODIES)
def test_a_body_is_understood_however_it_is_wrapped(caller: Caller, route: str, wrapping: Wrapping) -> None:
    wrapped, headers = wrapping
    body = json.dumps(caller.body(route)).encode()
    answer = sent(caller, route, route.partition(" ")[0], key_for(caller, route), wrapped(body), headers)
    assert answer.status == TABLE[route].success, answer.body


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_content_encoding_is_known_by_all_its_names(
    gateway: Gateway, deployment: Deployment, spelling: Wrapping
) -> None:
    wrapped, headers = spelling
    answer = gateway.call("POST", CHATS, key=deployment.key(), body=wrapped(json.dumps(CHAT).encode()), headers=headers)
    assert answer.status == 200, answer.body


def test_a_content_encoding_of_no_body_says_nothing(gateway: Gateway, deployment: Deployment) -> None:
    answer = gateway.call("GET", "/tenants/acme/v1/models", key=deployment.key(), headers={"Content-Encoding": "br"})
    assert answer.status == 200


LIMIT = 100_000
BOMB_BYTES = 50_000_000


def unwrapped(body: bytes, coding: str = "gzip") -> Incoming:
    """The request as a door sees it, which takes bodies of `LIMIT` bytes."""
    (route,) = [route for route in ROUTES if route.name == "create_chat_completion"]
    event: dict[str, Any] = {
        "httpMethod": "POST", "headers": {"Content-Encoding": coding}, "requestContext": {}, "body": body,
    }  # fmt: skip
    return incoming(event, route, 0, Ids("id", UNTRACED)).with_body(event, LIMIT)


def test_what_is_unpacked_may_be_as_large_as_what_is_sent() -> None:
    assert unwrapped(gzip.compress(b"0" * LIMIT)).body == b"0" * LIMIT
    assert unwrapped(b"0" * LIMIT, "identity").body == b"0" * LIMIT
    for coding, body in (("gzip", gzip.compress(b"0" * (LIMIT + 1))), ("identity", b"0" * (LIMIT + 1))):
        with pytest.raises(TooLarge, match=str(LIMIT)):
            unwrapped(body, coding)


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    zeros = bytes(1_000_000)
    bomb = b"".join(packer.compress(zeros) for _ in range(BOMB_BYTES // len(zeros))) + packer.flush()
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            unwrapped(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * LIMIT


PACKED = gzip.compress(json.dumps(CHAT).encode(), mtime=0)  # tests are named by it, in every worker alike


@pytest.mark.parametrize(
    ("body", "coding", "why"),
    [
        (b"{}", "gzip", "not valid gzip"),
        (PACKED[:-9], "gzip", "breaks off"),
        (PACKED[:4], "gzip", "breaks off"),
        (PACKED[:-8] + bytes(8), "gzip", "not valid gzip"),  # its checksum
        (PACKED + b"!", "gzip", "more follows"),
        (PACKED + PACKED, "gzip", "more follows"),
        (gzip.compress(PACKED, mtime=0), "gzip, gzip", "or as gzip"),
        (zlib.compress(b"{}"), "deflate", "or as gzip"),
        (b"{}", "br", "or as gzip"),
    ],
)
def test_what_cannot_be_unpacked_is_named(body: bytes, coding: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        unwrapped(body, coding)


def steady(headers: Mapping[str, str]) -> dict[str, str]:
    """What is the same in each of two answers: neither the time, nor their traces, nor a page's nonce."""
    told = {name: value for name, value in headers.items() if name not in ("date", "x-trace-id")}
    return {name: re.sub(r"'nonce-[0-9a-f]{32}'", "'nonce'", value) for name, value in told.items()}


@in_turn("route", GETS)
def test_head_answers_all_that_get_does_but_the_body(caller: Caller, route: str) -> None:
    key = key_for(caller, route)
    got, head = (sent(caller, route, method, key, b"", {}) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (got.status, b"")
    assert steady(head.headers) == steady(got.headers)
    assert int(head.headers["content-length"]) == len(got.body) > 0


@pytest.mark.parametrize(
    ("path", "status"),
    [("/tenants/acme/v1/models", 401), ("/tenants/acme/v1/models/none", 401), ("/nothing", 404), ("/inference", 405)],
)
def test_head_is_refused_as_get_is(gateway: Gateway, deployment: Deployment, path: str, status: int) -> None:
    got, head = (gateway.call(method, path) for method in ("GET", "HEAD"))
    assert (got.status, head.status, head.body) == (status, status, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (CHATS.replace("/v1/", "/v1//"), 200),
        (CHATS.replace("/v1/", "//v1/"), 200),
        (CHATS.replace("/", "//").replace("//acme", "/acme"), 200),
        (f"/{CHATS}", 200),
        (f"//{CHATS}///", 200),
        ("/tenants//acme/v1/chat/completions", 200),
        ("/tenants//v1/chat/completions", 404),  # a tenant that is missing is no slash too many
        ("/tenants/acme%2F%2Fv1/chat/completions", 404),
    ],
)
def test_slashes_too_many_mean_nothing(gateway: Gateway, deployment: Deployment, path: str, status: int) -> None:
    assert gateway.call("POST", path, key=deployment.key(), json=CHAT).status == status


@pytest.mark.parametrize("path", ["/tenants//keys", "/tenants/acme/keys//rotate", "/admin/tenants//keys"])
def test_a_missing_value_is_not_made_up_for_by_what_follows(
    gateway: Gateway, deployment: Deployment, path: str
) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert gateway.call(method, path, key=deployment.key(PLATFORM_TENANT)).status == 404


Keys = Mapping[str, str]


def keys(deployment: Deployment) -> Keys:
    """A good key by the name `good`, and worthless ones by what they are."""
    revoked = deployment.key()
    token = parse(revoked)
    assert token is not None
    deployment.tenancy.revoke_key("acme", token.key_id)
    return {
        "good": deployment.key(),
        "another's": deployment.key("bolt"),
        "revoked": revoked,
        "unknown": mint("acme", bytes(37)).text,
        "nonsense": "sk-proxy",
    }


@in_turn("stale", ["another's", "revoked", "unknown", "nonsense"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {stale}", "X-API-Key": "{good}"},
        {"Authorization": "Bearer {good}", "X-API-Key": "{stale}"},
        {"Authorization": "Bearer {stale}", "api-key": "{good}"},
        {"X-API-Key": "{stale}", "Api-Key": "{good}"},
        {"Authorization": "Bearer {stale}", "X-API-Key": "{stale}", "api-key": "{good}"},
        {"Authorization": "Basic dXNlcjpwYXNz", "api-key": "{good}"},
        {"api-key": "{good}"},
    ],
)
@pytest.mark.parametrize("path", [CHATS, "/tenants/acme/keys"])
def test_the_good_key_counts_wherever_it_stands(
    gateway: Gateway, deployment: Deployment, path: str, headers: dict[str, str], stale: str
) -> None:
    known = keys(deployment)
    filled = {name: text.format(good=known["good"], stale=known[stale]) for name, text in headers.items()}
    body = CHAT if path == CHATS else {"role": "viewer"}
    assert gateway.call("POST", path, json=body, headers=filled).status in (200, 201)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("revoked", "unknown", 401),
        ("nonsense", "revoked", 401),
        ("nonsense", "another's", 404),
        ("another's", "revoked", 404),
    ],
)
def test_of_two_worthless_keys_the_known_one_says_what_is_wrong(
    gateway: Gateway, deployment: Deployment, first: str, second: str, status: int
) -> None:
    known = keys(deployment)
    headers = {"Authorization": f"Bearer {known[first]}", "X-API-Key": known[second]}
    assert gateway.call("POST", CHATS, json=CHAT, headers=headers).status == status


AS_ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/tenants/acme/chat/completions", {}, "openai"),
        ("/tenants/acme/completions", {}, "openai"),
        ("/tenants/acme/embeddings", {}, "openai"),
        ("/tenants/acme/models", {}, "openai"),
        ("/tenants/acme/models", AS_ANTHROPIC, "anthropic"),
        ("/tenants//v1/models", {}, "openai"),
        ("/tenants/acme/v1/v1/chat/completions", {}, "openai"),
        ("/tenants/acme/v1/v1/messages", AS_ANTHROPIC, "anthropic"),
        ("/tenants/acme/messages", {}, "anthropic"),
        ("/tenants/acme/messages/count_tokens", {}, "anthropic"),
        ("/chat/completions", {}, "openai"),
        ("/v1/chat/completions", {}, "openai"),
        ("/openai/v1//chat/completions/", {}, "openai"),
        ("/v1/messages", {}, "anthropic"),
        ("/v1/models", AS_ANTHROPIC, "anthropic"),
    ],
)
def test_a_wrong_base_url_is_named_in_the_shape_that_the_sdk_shows(
    gateway: Gateway, deployment: Deployment, path: str, headers: dict[str, str], shape: str
) -> None:
    answer = gateway.call("POST", path, key=deployment.key(), json={}, headers=headers)
    assert (answer.status, shape_of(answer)) == (404, shape)
    message = answer.json["error"]["message"]
    assert "base_url" in message
    assert ("/tenants/{tenant}/v1 " in message) == (shape == "openai")


def test_the_sdks_show_what_is_wrong_with_their_base_url(gateway: Gateway, deployment: Deployment) -> None:
    key, base = deployment.key(), f"{gateway.base_url}/tenants/acme"
    with openai.OpenAI(base_url=base, api_key=key, max_retries=0) as wrong, pytest.raises(openai.NotFoundError) as said:
        wrong.models.list()
    assert "ends in /tenants/{tenant}/v1" in str(said.value)
    other = anthropic.Anthropic(base_url=f"{base}/v1", api_key=key, max_retries=0)
    with other, pytest.raises(anthropic.NotFoundError) as shown:
        other.messages.create(model="model-a", max_tokens=1, messages=[{"role": "user", "content": "hi"}])
    assert "without /v1" in str(shown.value)


@in_turn("route", ROUTES)
def test_no_route_of_ours_is_taken_for_a_wrong_base_url(gateway: Gateway, deployment: Deployment, route: Route) -> None:
    path = f"{route.path.replace('{', '').replace('}', '')}/no/such/thing"
    assert b"base_url" not in gateway.call("GET", path).body
