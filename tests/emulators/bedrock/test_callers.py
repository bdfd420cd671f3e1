"""Who is let in: signatures and API keys, as botocore sends them, and what is changed on the way."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.auth
import botocore.session
import httpx
import pytest
from botocore.awsrequest import AWSRequest
from botocore.compat import get_current_datetime
from botocore.config import Config
from botocore.credentials import Credentials

from tests.certificates import certificate as certificate
from tests.emulators.bedrock.served import HAIKU, Served, refused, user
from tests.emulators.bedrock.tls import over_tls
from tests.patience import PATIENCE_S

BODY = b'{"messages": [{"role": "user", "content": [{"text": "one two"}]}]}'
PATH = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"


def signed(bedrock: Served, service: str = "bedrock") -> dict[str, str]:
    """The headers of a good request for BODY at PATH."""
    request = AWSRequest("POST", bedrock.url + PATH, data=BODY, headers={"content-type": "application/json"})
    key = Credentials(bedrock.access_key_id, bedrock.secret_access_key)
    botocore.auth.SigV4Auth(key, service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def posted(bedrock: Served, headers: dict[str, str], body: bytes = BODY, query: str = "") -> tuple[int, str, str]:
    """Status, error name and text."""
    answer = httpx.post(bedrock.url + PATH + query, headers=headers, content=body, timeout=PATIENCE_S)
    return answer.status_code, answer.headers.get("x-amzn-errortype", "").partition(":")[0], answer.text


def test_a_signed_request_is_let_in_and_calls_the_region_that_it_was_signed_for(bedrock: Served) -> None:
    bedrock.client(region="eu-west-1").converse(modelId=HAIKU, messages=[user("hello")])

    call = bedrock.calls()[-1]
    assert (call["region"], call["key"], call["status"]) == ("eu-west-1", bedrock.access_key_id, 200)


@pytest.mark.parametrize("name", ["authorization", "x-amz-date", "content-type", "host"])
def test_a_signed_request_of_which_one_character_was_changed_is_refused(bedrock: Served, name: str) -> None:
    headers = {key.lower(): value for key, value in signed(bedrock).items()} | {
        "host": httpx.URL(bedrock.url).netloc.decode()
    }
    assert posted(bedrock, headers)[0] == 200

    last = headers[name][-1]
    changed = headers | {name: headers[name][:-1] + ("1" if last != "1" else "2")}
    assert posted(bedrock, changed)[0] == 403
    assert posted(bedrock, headers, BODY.replace(b"two", b"tvo"))[1] == "InvalidSignatureException"
    assert posted(bedrock, headers, query="?a=b")[1] == "InvalidSignatureException"
    assert posted(bedrock, headers | {"x-amz-more": "1"})[1] == "IncompleteSignatureException"


def test_a_signature_for_another_service_is_refused(bedrock: Served) -> None:
    status, code, text = posted(bedrock, signed(bedrock, "execute-api"))

    assert (status, code) == (403, "InvalidSignatureException")
    assert "Credential should be scoped to correct service: 'bedrock'." in text


@pytest.mark.parametrize(
    ("minutes", "text"), [(-6, "Signature expired"), (6, "Signature not yet current"), (-4, None), (4, None)]
)
def test_a_date_may_be_five_minutes_off_and_no_more(
    bedrock: Served, monkeypatch: pytest.MonkeyPatch, minutes: int, text: str | None
) -> None:
    then = get_current_datetime() + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: then)

    status, _, said = posted(bedrock, signed(bedrock))
    assert status == (200 if text is None else 403)
    assert text is None or text in said


def test_an_unsigned_request_is_refused(bedrock: Served) -> None:
    assert posted(bedrock, {})[:2] == (403, "MissingAuthenticationTokenException")
    assert posted(bedrock, {"authorization": "Basic eHg6eHg="})[:2] == (403, "IncompleteSignatureException")


def test_an_unknown_key_a_wrong_secret_and_a_token_too_many_are_refused(bedrock: Served) -> None:
    turns = {"modelId": HAIKU, "messages": [user("hello")]}
    with refused("UnrecognizedClientException", "The security token included in the request is invalid."):
        bedrock.client(aws_access_key_id="AKIAUNKNOWN").converse(**turns)
    with refused("InvalidSignatureException", "The request signature we calculated does not match"):
        bedrock.client(aws_secret_access_key="wrong").converse(**turns)
    with refused("UnrecognizedClientException"):
        bedrock.client(aws_session_token="more").converse(**turns)


def test_a_session_is_let_in_until_it_expires(bedrock: Served) -> None:
    key = {"access_key_id": "ASIASESSION", "secret_access_key": "its-secret", "session_token": "its-token"}
    bedrock.command("accept", access_key=key)
    session = bedrock.client(
        aws_access_key_id="ASIASESSION", aws_secret_access_key="its-secret", aws_session_token="its-token"
    )
    turns = {"modelId": HAIKU, "messages": [user("hello")]}

    assert session.converse(**turns)["stopReason"] == "end_turn"
    bedrock.command("expire", key="ASIASESSION")
    with refused("ExpiredTokenException", "The security token included in the request is expired"):
        session.converse(**turns)


def with_api_key(url: str, certificate: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that botocore itself gives the key to."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
    return boto3.Session().client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        verify=str(certificate),
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_an_api_key_is_let_in_as_botocore_sends_it(
    bedrock: Served, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = {"modelId": HAIKU, "messages": [user("one two")]}
    with over_tls(bedrock.url, certificate) as url:
        client = with_api_key(url, certificate, bedrock.bearer, monkeypatch)

        assert client.converse(**turns)["usage"]["inputTokens"] == 2
        assert len(list(client.converse_stream(**turns)["stream"])) == 6
        assert bedrock.calls()[-1]["key"] == "bearer"
        bedrock.command("expire", key=bedrock.bearer)
        with refused("AccessDeniedException", "Bearer Token has expired"):
            client.converse(**turns)


def test_a_new_api_key_is_let_in_and_the_old_one_no_more(bedrock: Served) -> None:
    bedrock.command("accept", bearer={"key": "the-new-one", "region": "eu-west-1"})
    bedrock.command("forget", key=bedrock.bearer)

    assert posted(bedrock, {"authorization": "Bearer the-new-one"})[0] == 200
    assert bedrock.calls()[-1]["region"] == "eu-west-1"
    status, code, text = posted(bedrock, {"authorization": f"Bearer {bedrock.bearer}"})
    assert (status, code) == (403, "AccessDeniedException")
    assert "Please make sure your API Key is valid." in text


def test_no_secret_is_told_back(bedrock: Served) -> None:
    posted(bedrock, {"authorization": "Bearer a-secret-that-is-not-known"})
    posted(bedrock, signed(bedrock))

    told = httpx.get(f"{bedrock.url}/_control", timeout=PATIENCE_S).text
    assert not any(secret in told for secret in ("a-secret-that", bedrock.bearer, bedrock.secret_access_key, "one two"))
