"""The admin surface and signed requests, where no API Gateway checks them."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.http.bridge import Signed
from chalicelib.refusal import Forbidden
from chalicelib.tenancy import PLATFORM_TENANT
from local.iam.signature import MISMATCH, canonical_request, signature, string_to_sign
from tests.api.signing import AUTHORISER, CLOCK, KEY_ID, OWNER, REGION, SECRET, signed
from tests.deployments import Answer, Deployment, Gateway, front, served

HOST = "gateway.test:8000"


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    yield
    CLOCK.ahead_ms = 0


def call(gateway: Gateway, method: str, path: str, body: bytes = b"", **how: Any) -> Answer:
    headers = signed(method, f"http://{gateway.host}:{gateway.port}{path}", body, **how)
    return gateway.call(method, path, body=body or None, headers=headers)


# over HTTP


def test_a_signed_request_needs_no_key(gateway: Gateway, deployment: Deployment) -> None:
    assert [tenant["id"] for tenant in call(gateway, "GET", "/admin/tenants").json["tenants"]] == [
        "acme",
        "bolt",
        PLATFORM_TENANT,
    ]
    json_headers = {"Content-Type": "application/json"}
    made = call(gateway, "POST", "/admin/tenants", b'{"id":"cora","name":"Cora"}', headers=json_headers)
    assert (made.status, deployment.tenancy.tenant("cora").name) == (201, "Cora")
    assert call(gateway, "PATCH", "/admin/tenants/cora", b'{"priority":1}', headers=json_headers).status == 200


def test_an_unsigned_request_needs_an_owner_key_of_the_platform(gateway: Gateway, deployment: Deployment) -> None:
    assert gateway.call("GET", "/admin/tenants", key=deployment.key(PLATFORM_TENANT)).status == 200
    assert gateway.call("GET", "/admin/tenants").status == 401


WRONG: dict[str, dict[str, Any]] = {
    "another secret": {"secret": "guessed"},
    "another region": {"region": "eu-west-1"},
    "another service": {"service": "dynamodb"},
    "an unknown key": {"key_id": "AKIAEXAMPLESOMEBODY0"},
    "a session that was never given out": {"token": "session"},
}


@pytest.mark.parametrize("how", WRONG.values(), ids=WRONG)
def test_a_request_that_is_signed_wrongly_is_refused_as_api_gateway_does(
    gateway: Gateway, deployment: Deployment, how: dict[str, Any]
) -> None:
    answer = call(gateway, "GET", "/admin/tenants", **how)
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"] == "/problems/permission-denied"
    assert answer.json["request_id"] == answer.headers["x-request-id"] != ""
    assert "guessed" not in answer.body.decode()


@pytest.mark.parametrize(("ahead_ms", "status"), [(290_000, 200), (310_000, 403), (-290_000, 200), (-310_000, 403)])
def test_a_signature_is_good_for_five_minutes(
    gateway: Gateway, deployment: Deployment, ahead_ms: int, status: int
) -> None:
    CLOCK.ahead_ms = ahead_ms
    assert call(gateway, "GET", "/admin/tenants").status == status


def test_a_wrong_signature_is_not_made_good_by_a_good_key(gateway: Gateway, deployment: Deployment) -> None:
    headers = signed("GET", f"http://{gateway.host}:{gateway.port}/admin/tenants", secret="guessed")
    headers["X-API-Key"] = deployment.key(PLATFORM_TENANT)
    assert gateway.call("GET", "/admin/tenants", headers=headers).status == 403


def test_a_body_that_was_changed_on_the_way_is_refused_and_does_nothing(
    gateway: Gateway, deployment: Deployment
) -> None:
    url = f"http://{gateway.host}:{gateway.port}/admin/tenants/acme"
    headers = signed("PATCH", url, b'{"priority":1}', {"Content-Type": "application/json"})
    answer = gateway.call("PATCH", "/admin/tenants/acme", body=b'{"priority":2}', headers=headers)
    assert (answer.status, answer.json["detail"]) == (403, MISMATCH)
    assert deployment.tenancy.tenant("acme").priority == 5


def test_a_signed_body_that_is_too_large_is_too_large(gateway: Gateway, deployment: Deployment) -> None:
    assert call(gateway, "POST", "/admin/tenants", b" " * 6_000_001).status == 413


def test_nobody_becomes_an_operator_by_a_header(gateway: Gateway, deployment: Deployment) -> None:
    """The header that the Lambda Web Adapter sets is, anywhere else, a client's own."""
    spoofed = json.dumps({"identity": {"userArn": OWNER.arn, "accountId": OWNER.account}})
    for headers in ({"x-amzn-request-context": spoofed}, {"X-Amzn-Request-Context": spoofed, "userArn": OWNER.arn}):
        assert gateway.call("GET", "/admin/tenants", headers=headers).status == 401
        key = deployment.key("acme")
        assert gateway.call("GET", "/admin/tenants", key=key, headers=headers).status == 403
        assert gateway.call("GET", "/tenants/bolt", key=key, headers=headers).status == 404


def test_a_signature_means_nothing_to_a_tenants_own_routes(gateway: Gateway, deployment: Deployment) -> None:
    assert call(gateway, "GET", "/tenants/acme").status == 401


def test_without_the_stand_in_a_signature_means_nothing(deployment: Deployment) -> None:
    """As on Lambda, where API Gateway has checked it before: only what API Gateway says counts."""
    with served(front()) as gateway:
        assert call(gateway, "GET", "/admin/tenants").status == 401
        assert gateway.call("GET", "/admin/tenants", key=deployment.key(PLATFORM_TENANT)).status == 200


# the verifier by itself

segments = st.text(min_size=1, max_size=8).map(lambda text: quote(text, safe="")).filter(lambda text: text.strip("."))
paths = st.lists(segments, min_size=1, max_size=4).map(lambda each: "/" + "/".join(each))
words = st.text(max_size=6).map(lambda text: quote(text, safe="-._~"))
queries = st.lists(st.tuples(words, words), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs if name)
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> Signed:
    """What botocore signs, as it arrives."""
    method, path, query = draw(st.sampled_from(["GET", "PUT", "DELETE"])), draw(paths), draw(queries)
    body = draw(st.binary(max_size=20))
    extra = draw(st.dictionaries(st.sampled_from(["content-type", "x-thing", "accept"]), values))
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    headers = {"Host": HOST, **signed(method, url, body, extra)}
    return Signed(
        method,
        path.encode(),
        query.encode(),
        [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        body,
    )


@given(requests())
def test_whatever_botocore_signs_is_let_in(request: Signed) -> None:
    assert AUTHORISER(request) == {
        "userArn": OWNER.arn,
        "user": OWNER.arn,
        "caller": OWNER.arn,
        "accountId": OWNER.account,
        "accessKey": KEY_ID,
    }


@given(requests(), st.sampled_from(["method", "path", "query", "body", "header"]), st.data())
def test_whatever_is_changed_afterwards_is_refused(request: Signed, part: str, data: st.DataObject) -> None:
    if part == "method":
        changed = _replaced(request, method="POST")
    elif part == "header":
        number = data.draw(st.integers(0, len(request.headers) - 1))
        name, value = request.headers[number]
        headers = [*request.headers]
        headers[number] = (name, _flipped(value, data, b"\t \x0b\x0c\r\n"))
        changed = _replaced(request, headers=headers)
    else:
        changed = _replaced(request, **{part: _flipped(getattr(request, part), data, b"%&=+?#")})
    with pytest.raises(Forbidden):
        AUTHORISER(changed)


def _replaced(request: Signed, **members: Any) -> Signed:
    known = {name: getattr(request, name) for name in ("method", "path", "query", "headers", "body")}
    return Signed(**{**known, **members})


def _flipped(text: bytes, data: st.DataObject, spared: bytes) -> bytes:
    """One byte replaced by another, or one added; not those whose meaning is the same in another writing."""
    if text:
        place = data.draw(st.integers(0, len(text) - 1))
        byte = data.draw(st.integers(33, 126).filter(lambda byte: byte != text[place] and byte not in spared))
        if text[place] not in spared and not _in_an_escape(text, place):
            return text[:place] + bytes([byte]) + text[place + 1 :]
    return text + b"x"


def _in_an_escape(text: bytes, place: int) -> bool:
    return b"%" in text[max(0, place - 2) : place]


ALTERED: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "no date": lambda headers: {**headers, "X-Amz-Date": ""},
    "a date that is none": lambda headers: {**headers, "X-Amz-Date": "yesterday"},
    "the host is not signed": lambda headers: {
        **headers,
        "Authorization": headers["Authorization"].replace("SignedHeaders=host;", "SignedHeaders="),
    },
    "the date is not signed": lambda headers: {
        **headers,
        "Authorization": headers["Authorization"].replace(";x-amz-date", ""),
    },
    "an AWS header that is not signed": lambda headers: {**headers, "X-Amz-Thing": "1"},
    "no signature": lambda headers: {**headers, "Authorization": headers["Authorization"].split(", Signature")[0]},
    "an empty signature": lambda headers: {**headers, "Authorization": headers["Authorization"][:-64]},
    "a signature in capitals": lambda headers: {
        **headers,
        "Authorization": headers["Authorization"][:-64] + headers["Authorization"][-64:].upper() + "A",
    },
    "a short scope": lambda headers: {
        **headers,
        "Authorization": headers["Authorization"].replace("/aws4_request", ""),
    },
    "another terminator": lambda headers: {
        **headers,
        "Authorization": headers["Authorization"].replace("aws4_request", "aws5_request"),
    },
    "another day's scope": lambda headers: {
        **headers,
        "Authorization": headers["Authorization"].replace(headers["X-Amz-Date"][:8], "20000101"),
    },
    "an unsigned payload": lambda headers: {**headers, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"},
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_what_api_gateway_would_not_read_is_refused(alter: Callable[[dict[str, str]], dict[str, str]]) -> None:
    headers = {"Host": HOST, **alter(signed("GET", f"http://{HOST}/admin/tenants"))}
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(Forbidden):
        AUTHORISER(Signed("GET", b"/admin/tenants", b"", arrived, b""))


def test_a_payload_that_says_it_is_unsigned_is_refused_even_where_its_signature_is_right() -> None:
    headers = signed("PUT", f"http://{HOST}/x", b"body", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD", "Host": HOST})
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(Forbidden, match="does not match"):
        AUTHORISER(Signed("PUT", b"/x", b"", arrived, b"body"))


def test_a_signature_for_one_path_serves_no_other_that_comes_out_the_same() -> None:
    """Signers remove dots and doubled slashes; a route sees them."""
    headers = {"Host": HOST, **signed("GET", f"http://{HOST}/admin/tenants")}
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    AUTHORISER(Signed("GET", b"/admin/tenants", b"", arrived, b""))
    for path in (b"/admin/tenants/.", b"//admin/tenants", b"/admin/x/../tenants", b"/admin/./tenants"):
        with pytest.raises(Forbidden):
            AUTHORISER(Signed("GET", path, b"", arrived, b""))


@pytest.mark.parametrize("names", [["x-amz-date"], ["host"]])
def test_a_right_signature_that_leaves_out_the_host_or_the_date_is_refused(names: list[str]) -> None:
    dated = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{dated[:8]}/{REGION}/execute-api/aws4_request"
    arrived = [(b"host", HOST.encode()), (b"x-amz-date", dated.encode())]

    def authorised(names: list[str]) -> Signed:
        request = Signed("GET", b"/admin/tenants", b"", arrived, b"")
        canonical = canonical_request(request, {"host": [HOST], "x-amz-date": [dated]}, tuple(names))
        claim = (
            f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={';'.join(names)}, "
            f"Signature={signature(SECRET, scope, string_to_sign(scope, dated, canonical))}"
        )
        return _replaced(request, headers=[*arrived, (b"authorization", claim.encode())])

    AUTHORISER(authorised(["host", "x-amz-date"]))
    with pytest.raises(Forbidden, match="must be a 'SignedHeader'"):
        AUTHORISER(authorised(names))


def test_a_signature_that_comes_twice_is_refused() -> None:
    headers = {"Host": HOST, **signed("GET", f"http://{HOST}/admin/tenants")}
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(Forbidden):
        AUTHORISER(Signed("GET", b"/admin/tenants", b"", [*arrived, arrived[-1]], b""))
