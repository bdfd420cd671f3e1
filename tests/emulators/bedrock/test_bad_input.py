"""Requests that no SDK would send: each gets an error in Bedrock's shape, and the next one its answer."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.emulators.bedrock.served import HAIKU, Served, anthropic
from tests.patience import PATIENCE_S

DEEP = '{"a":' * 50_000 + "1" + "}" * 50_000
DEEP_TOOL = json.dumps(anthropic(tools=[{"name": "x", "input_schema": "deep"}])).replace('"deep"', DEEP)

UNREADABLE = {
    "cut off": "{",
    "not UTF-8": "\xff",
    "deep": "[" * 100_000,
    "a deep tool": DEEP_TOOL,
    "half a character": '{"messages": "\\ud800"}',
    "a number out of range": '{"max_tokens": 1e400}',
    "nothing": "null",
}


@pytest.fixture
def http(bedrock: Served) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {bedrock.bearer}"}
    with httpx.Client(base_url=bedrock.url, headers=headers, timeout=PATIENCE_S) as client:
        yield client
        assert bedrock.converse()["stopReason"] == "end_turn"


def error(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["x-amzn-requestid"]
    assert answer.json()["message"]
    return answer.status_code, answer.headers["x-amzn-errortype"].partition(":")[0]


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("operation", ["invoke", "invoke-with-response-stream", "converse", "converse-stream"])
def test_a_body_that_cannot_be_read_is_refused(http: httpx.Client, operation: str, body: str) -> None:
    status, code = error(http.post(f"/model/{HAIKU}/{operation}", content=body.encode("latin-1")))

    assert (status, code) in {(400, "ValidationException"), (400, "SerializationException")}


@pytest.mark.parametrize("query", ["maxResults=many", "maxResults=%C2%B2", "nextToken=-1", "nextToken=99999999999999"])
def test_a_page_that_is_none_is_refused(http: httpx.Client, query: str) -> None:
    assert error(http.get(f"/inference-profiles?{query}")) == (400, "ValidationException")


@pytest.mark.parametrize("model", ["%ff%00", "%2e%2e%2f", "x" * 300, "arn%3Aaws%3Abedrock"])
def test_an_identifier_that_is_none_is_refused(http: httpx.Client, model: str) -> None:
    assert error(http.post(f"/model/{model}/converse", content="{}")) == (400, "ValidationException")


@pytest.mark.parametrize("wanted", ["{}", '{"input": {}}', '{"input": {"invokeModel": {"body": "!!"}}}'])
def test_a_count_of_nothing_is_refused(http: httpx.Client, wanted: str) -> None:
    assert error(http.post(f"/model/{HAIKU}/count-tokens", content=wanted)) == (400, "ValidationException")


def test_a_path_or_method_that_is_none_is_refused(http: httpx.Client) -> None:
    for answer in (http.get("/models"), http.put("/foundation-models"), http.get(f"/model/{HAIKU}/converse")):
        assert error(answer) == (404, "UnknownOperationException")


def test_a_command_that_nests_too_deeply_is_refused(http: httpx.Client) -> None:
    command = f'{{"do": "say", "blocks": [{{"tool": "x", "input": {DEEP}}}]}}'

    assert error(http.post("/_control", content=command)) == (400, "ValidationException")
