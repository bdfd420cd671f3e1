"""Who sends a call to AWS, and what is read of a service's complaint."""

import pytest

from chalicelib.aws_credentials import NoCredentials
from chalicelib.engines.transport.aws_calls import AwsCalls, Complaint, by_key, by_signature, complaint
from chalicelib.http1.server import Patience
from chalicelib.signature import Credentials
from tests.engines.servers import always, serving, whole

PATIENT = Patience(60, 60)


@pytest.mark.parametrize("url", ["https://bedrock.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"])
def test_a_key_goes_where_nobody_can_read_along(url: str) -> None:
    assert by_key("k", url)("host", "/", {"A": "b"}, b"") == {"A": "b", "Authorization": "Bearer k"}


@pytest.mark.parametrize("url", ["http://bedrock.example", "http://10.0.0.1", "http://localhost.example", "http://1"])
def test_a_key_goes_nowhere_else(url: str) -> None:
    with pytest.raises(NoCredentials, match="plain HTTP"):
        by_key("k", url)("host", "/", {}, b"")


@pytest.mark.parametrize("key", ["a\nb", "a\r\nX: y", "ä"])
def test_what_no_header_can_hold_is_not_sent_and_not_quoted(key: str) -> None:
    with serving(always(whole(b""))) as server:
        signs = by_signature("bedrock", "us-east-1", lambda: Credentials(key, "secret", key), lambda: 0)
        for prove in (by_key(key, server.root), signs):
            with pytest.raises(NoCredentials) as caught:
                AwsCalls(server.root, PATIENT, prove).post("/", {}, b"")
            assert str(caught.value) == "no header can hold them"
        assert server.requests == []


@pytest.mark.parametrize(
    ("headers", "body", "code", "text"),
    [
        ({"x-amzn-errortype": "ThrottlingException"}, b'{"message":"no"}', "ThrottlingException", "no"),
        ({"x-amzn-errortype": "ValidationException:http://internal"}, b'{"Message":"no"}', "ValidationException", "no"),
        ({}, b'{"__type":"com.amazonaws.x#ModelError","message":"no"}', "ModelError", "no"),
        ({}, b'{"code":"ModelError"}', "ModelError", ""),
        ({}, b"<html>", "502", "<html>"),
        ({}, b"\xff", "502", "\ufffd"),
        ({}, b"", "502", ""),
        ({}, b"[]", "502", "[]"),
    ],
)
def test_a_complaint_is_read_as_aws_writes_it(headers: dict[str, str], body: bytes, code: str, text: str) -> None:
    assert complaint(502, headers, body) == Complaint(code, 502, text, body)
