"""The doors as plain Lambda calls them, behind API Gateway: an event in, a whole answer out."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from app import app
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed
from chalicelib.wiring import opening_into
from tests import api_gateway
from tests.small_deployments import T0, Deployment

CHAT = "/tenants/{tenant}/v1/chat/completions"
BODY = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


class Sandbox:
    def __init__(self, *script: Step) -> None:
        def says(_: Target, call: Call) -> Iterable[Step]:
            return script or (words("one two") if call.stream else whole("one two"))

        self.deployment = Deployment(script=says)
        self.deployment.pool(sealed=True)
        self.deployment.tenant()
        self.headers: dict[str, str | None] = {
            "Authorization": f"Bearer {self.deployment.key()}",
            "content-type": "application/json",
            "Accept": "*/*",
        }

    def call(
        self, body: str | None, *, headers: Mapping[str, str | None] | None, encoded: bool = False
    ) -> dict[str, Any]:
        event = api_gateway.event("POST", CHAT, {"tenant": "acme"}, headers=headers, body=body, encoded=encoded)
        with opening_into(self.deployment.rooms()):
            answer = app(event, None)
        passed_on: dict[str, Any] = json.loads(json.dumps(answer))  # what Lambda does with it
        return passed_on

    @property
    def outcomes(self) -> list[str]:
        return [entry.outcome for entry in self.deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries]


def test_an_answer_is_whole() -> None:
    sandbox = Sandbox()
    answer = sandbox.call(json.dumps(BODY), headers=sandbox.headers)
    assert (answer["statusCode"], answer["headers"]["X-Instance-ID"]) == (200, "scripted-1")
    assert json.loads(answer["body"])["choices"][0]["message"]["content"] == "one two"
    assert sandbox.outcomes == ["completed"]


def test_a_stream_comes_all_at_once_and_is_settled() -> None:
    sandbox = Sandbox()
    answer = sandbox.call(json.dumps({**BODY, "stream": True}), headers=sandbox.headers)
    assert answer["headers"]["Content-Type"].startswith("text/event-stream")
    assert answer["body"].endswith("data: [DONE]\n\n")
    assert sandbox.outcomes == ["completed"]
    assert sandbox.deployment.engine.running == 0


def test_a_body_may_come_in_base64() -> None:
    sandbox = Sandbox()
    body = base64.b64encode(json.dumps(BODY).encode()).decode()
    assert sandbox.call(body, headers=sandbox.headers, encoded=True)["statusCode"] == 200


@pytest.mark.parametrize("body", ["%%%", "\u00e9"])
def test_what_is_not_base64_is_malformed(body: str) -> None:
    sandbox = Sandbox()
    answer = sandbox.call(body, headers=sandbox.headers, encoded=True)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("headers", [None, {}, {"X-Request-ID": None, "Authorization": None}])
def test_a_request_without_headers_is_not_authenticated(headers: Mapping[str, str | None] | None) -> None:
    answer = Sandbox().call(json.dumps(BODY), headers=headers)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]["code"]) == (401, "invalid_api_key")
    assert answer["headers"]["X-Request-ID"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_is_no_text_still_leaves(stream: bool) -> None:
    """Members that nobody looks at are passed on as they are, and Lambda can only pass on text."""
    sandbox = Sandbox(Started("i"), Delta(b'{"strange":"\xff"}'), Finished(Usage(1, 1)))
    answer = sandbox.call(json.dumps({**BODY, "stream": stream}), headers=sandbox.headers)
    assert answer["statusCode"] == 200
    assert '{"strange":"\ufffd"}' in answer["body"]


@pytest.mark.parametrize("accept", [{}, {"Accept": "*/*"}, {"Accept": "application/octet-stream"}])
@pytest.mark.parametrize("stream", ["true", "false"])
def test_sealed_bytes_come_and_go_in_base64_whatever_the_client_accepts(accept: dict[str, str], stream: str) -> None:
    """As API Gateway exchanges them where every media type counts as binary."""
    sealed = bytes(range(256))
    sandbox = Sandbox(Started("i-1"), Delta(sealed, 1), Delta(sealed[::-1], 1), Finished(Usage(1, 2)))
    headers = {name: value for name, value in sandbox.headers.items() if name != "Accept"} | {
        "content-type": "application/octet-stream",
        "X-Seal-Mode": "hpke",
        "X-Seal-Stream": stream,
        "X-Model-Pool": "model-a",
        "X-Request-ID": "req-1",
    }
    answer = sandbox.call(base64.b64encode(b"a sealed request").decode(), headers={**headers, **accept}, encoded=True)
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
    assert base64.b64decode(answer["body"]) == sealed + sealed[::-1]
    assert answer["headers"]["Content-Type"] == "application/octet-stream"


def test_a_sealed_stream_that_fails_breaks_off_without_a_word() -> None:
    sandbox = Sandbox(Started("i-1"), Delta(b"sealed", 1), EngineFailed("it broke"))
    headers = sandbox.headers | {
        "content-type": "application/octet-stream",
        "X-Seal-Mode": "hpke",
        "X-Seal-Stream": "true",
        "X-Model-Pool": "model-a",
        "X-Request-ID": "req-1",
    }
    answer = sandbox.call(base64.b64encode(b"a sealed request").decode(), headers=headers, encoded=True)
    assert base64.b64decode(answer["body"]) == b"sealed"
    assert sandbox.outcomes == ["failed"]
