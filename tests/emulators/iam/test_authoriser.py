"""Signatures as API Gateway's stand-in reads them, for all that a signer may send and a stranger may change."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.iam.authoriser import LocalCloud, Question
from emulators.iam.refusal import AccessDenied, NoJudge
from emulators.iam.signature import SignedRequest, canonical_request, signature, string_to_sign
from tests.api.signing import AUTHORISER, KEY_ID, OWNER, REGION, SECRET, signed

HOST = "gateway.test:8000"

segments = st.text(min_size=1, max_size=8).map(lambda text: quote(text, safe="")).filter(lambda text: text.strip("."))
paths = st.lists(segments, min_size=1, max_size=4).map(lambda each: "/" + "/".join(each))
words = st.text(max_size=6).map(lambda text: quote(text, safe="-._~"))
queries = st.lists(st.tuples(words, words), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs if name)
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> SignedRequest:
    """What botocore signs, as it arrives."""
    method, path, query = draw(st.sampled_from(["GET", "PUT", "DELETE"])), draw(paths), draw(queries)
    body = draw(st.binary(max_size=20))
    extra = draw(st.dictionaries(st.sampled_from(["content-type", "x-thing", "accept"]), values))
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    headers = {"Host": HOST, **signed(method, url, body, extra)}
    return SignedRequest(
        method,
        path.encode(),
        query.encode(),
        [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        body,
    )


@given(requests())
def test_whatever_botocore_signs_is_let_in(request: SignedRequest) -> None:
    assert AUTHORISER(request) == {
        "userArn": OWNER.arn,
        "user": OWNER.arn,
        "caller": OWNER.arn,
        "accountId": OWNER.account,
        "accessKey": KEY_ID,
    }


@given(requests(), st.sampled_from(["method", "path", "query", "body", "header"]), st.data())
def test_whatever_is_changed_afterwards_is_refused(request: SignedRequest, part: str, data: st.DataObject) -> None:
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
    with pytest.raises(AccessDenied):
        AUTHORISER(changed)


def _replaced(request: SignedRequest, **members: Any) -> SignedRequest:
    known = {name: getattr(request, name) for name in ("method", "path", "query", "headers", "body")}
    return SignedRequest(**{**known, **members})


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
    with pytest.raises(AccessDenied):
        AUTHORISER(SignedRequest("GET", b"/admin/tenants", b"", arrived, b""))


def test_a_payload_that_says_it_is_unsigned_is_refused_even_where_its_signature_is_right() -> None:
    headers = signed("PUT", f"http://{HOST}/x", b"body", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD", "Host": HOST})
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(AccessDenied, match="does not match"):
        AUTHORISER(SignedRequest("PUT", b"/x", b"", arrived, b"body"))


def test_a_signature_for_one_path_serves_no_other_that_comes_out_the_same() -> None:
    """Signers remove dots and doubled slashes; a route sees them."""
    headers = {"Host": HOST, **signed("GET", f"http://{HOST}/admin/tenants")}
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    AUTHORISER(SignedRequest("GET", b"/admin/tenants", b"", arrived, b""))
    for path in (b"/admin/tenants/.", b"//admin/tenants", b"/admin/x/../tenants", b"/admin/./tenants"):
        with pytest.raises(AccessDenied):
            AUTHORISER(SignedRequest("GET", path, b"", arrived, b""))


@pytest.mark.parametrize("names", [["x-amz-date"], ["host"]])
def test_a_right_signature_that_leaves_out_the_host_or_the_date_is_refused(names: list[str]) -> None:
    dated = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{dated[:8]}/{REGION}/execute-api/aws4_request"
    arrived = [(b"host", HOST.encode()), (b"x-amz-date", dated.encode())]

    def authorised(names: list[str]) -> SignedRequest:
        request = SignedRequest("GET", b"/admin/tenants", b"", arrived, b"")
        canonical = canonical_request(request, {"host": [HOST], "x-amz-date": [dated]}, tuple(names))
        claim = (
            f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={';'.join(names)}, "
            f"Signature={signature(SECRET, scope, string_to_sign(scope, dated, canonical))}"
        )
        return _replaced(request, headers=[*arrived, (b"authorization", claim.encode())])

    AUTHORISER(authorised(["host", "x-amz-date"]))
    with pytest.raises(AccessDenied, match="must be a 'SignedHeader'"):
        AUTHORISER(authorised(names))


def test_a_signature_that_comes_twice_is_refused() -> None:
    headers = {"Host": HOST, **signed("GET", f"http://{HOST}/admin/tenants")}
    arrived = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(AccessDenied):
        AUTHORISER(SignedRequest("GET", b"/admin/tenants", b"", [*arrived, arrived[-1]], b""))


def test_without_the_cloud_nobody_is_let_in() -> None:
    with pytest.raises(NoJudge):
        LocalCloud("http://127.0.0.1:9")(Question("AKIA", "", "20261121/us-east-1/execute-api/aws4_request", *"abcd"))
