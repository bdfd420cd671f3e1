"""Responses at the gateway, through OpenAI's own package: form, errors, events, charges. The model is scripted."""

from collections.abc import Iterable
from typing import Any

import msgspec
import openai
import pydantic
import pytest

from chalicelib import wiring
from chalicelib.call import Call, Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects.responses.answers import Answered
from chalicelib.engines.scripted import Step
from chalicelib.ledger import Entry
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import EngineFailed, Malformed, NoCapacity
from tests.engines.answers import Chat
from tests.engines.responses import STREAM, says
from tests.patience import PATIENCE_S
from tests.small_deployments import T0, Deployment, Gateway

RESPONSES = "/tenants/acme/v1/responses"
HELLO: dict[str, Any] = {"model": "model-a", "input": "hi", "max_output_tokens": 16}


class Weather(pydantic.BaseModel):
    """The weather of a city."""

    city: str


def opening_into(script: Any) -> Deployment:
    """A deployment whose model is `script`, with the pool and the tenant of most tests."""
    deployment = Deployment(script=script)
    deployment.tenancy.put_pool(Pool("model-a", (Scripted("a", url="a"),), max_tokens=64))
    deployment.tenant("acme")
    return deployment


def ledger(deployment: Deployment) -> Entry:
    """The one entry."""
    (entry,) = deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    return entry


def sdk(gateway: Gateway, key: str, retries: int = 0) -> Any:
    base = f"http://{gateway.host}:{gateway.port}/tenants/acme/v1"
    return openai.OpenAI(base_url=base, api_key=key, max_retries=retries, timeout=PATIENCE_S)


def calls_weather(call: Call) -> list[Event]:
    """The events of a Response that calls a tool."""
    function = {"name": "Weather", "arguments": '{"city":"Bern"}'}
    said = {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]}
    choice = {"delta" if call.stream else "message": said, "finish_reason": "tool_calls"}
    chunk = Delta(msgspec.json.encode({"choices": [choice]}), 1)
    return list(Answered(Chat((Started("i"), chunk, Finished(Usage(3, 4)))), call))


def test_the_sdk_is_answered(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("hello to you", call))
    with wiring.opening_into(deployment.rooms()):
        response = sdk(gateway, deployment.key()).responses.create(**HELLO)
    assert response.output_text == "hello to you"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (1, 3)
    assert (response.status, response.model, response.store) == ("completed", "model-a", False)
    assert response.id == f"resp_{response._request_id}"
    entry = ledger(deployment)
    assert (entry.operation, entry.outcome, entry.charged.tokens) == ("responses", "completed", 4)


def test_a_stream_is_openais_events_without_an_end_of_a_chat(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("Hello there", call))
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", RESPONSES, key=deployment.key(), json={**HELLO, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.split(b"\n") for event in answer.body.rstrip(b"\n").split(b"\n\n")]
    assert tuple(name.removeprefix(b"event: ").decode() for name, _ in events) == STREAM
    assert [msgspec.json.decode(data.removeprefix(b"data: "))["type"] for _, data in events] == [*STREAM]
    assert b"[DONE]" not in answer.body


def test_a_stream_is_put_together_by_the_sdk(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("hello to you", call))
    with wiring.opening_into(deployment.rooms()), sdk(gateway, deployment.key()).responses.stream(**HELLO) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    assert texts == ["hello", " to", " you"]
    assert (response.output_text, response.usage.output_tokens) == ("hello to you", 3)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_a_form_is_parsed_by_the_sdk(gateway: Gateway, stream: bool) -> None:
    heard: list[Call] = []

    def script(_: Target, call: Call) -> Iterable[Step]:
        heard.append(call)
        return says('{"city":"Bern"}', call)

    deployment = opening_into(script)
    with wiring.opening_into(deployment.rooms()):
        responses = sdk(gateway, deployment.key()).responses
        if stream:
            with responses.stream(**HELLO, text_format=Weather) as events:
                response = events.get_final_response()
        else:
            response = responses.parse(**HELLO, text_format=Weather)
    assert response.output_parsed == Weather(city="Bern")
    assert response.text.format.type == "json_schema"
    assert msgspec.json.decode(heard[0].fields["text"])["format"]["name"] == "Weather"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_through_the_sdk(gateway: Gateway, stream: bool) -> None:
    deployment = opening_into(lambda _, call: calls_weather(call))
    tools = [openai.pydantic_function_tool(Weather)["function"] | {"type": "function"}]
    with wiring.opening_into(deployment.rooms()):
        responses = sdk(gateway, deployment.key()).responses
        if stream:
            with responses.stream(**HELLO, tools=tools) as events:
                response = events.get_final_response()
        else:
            response = responses.create(**HELLO, tools=tools)
    (call,) = response.output
    assert (call.type, call.call_id, call.name, call.arguments) == ("function_call", "c1", "Weather", '{"city":"Bern"}')
    assert response.tools[0].name == "Weather"


def test_an_answer_that_was_cut_off_says_so(gateway: Gateway) -> None:
    def script(_: Target, call: Call) -> Iterable[Step]:
        choice = {"delta" if call.stream else "message": {"content": "hel"}, "finish_reason": "length"}
        chunk = Delta(msgspec.json.encode({"choices": [choice]}), 1)
        return list(Answered(Chat((Started("i"), chunk, Finished(Usage(1, 1)))), call))

    deployment = opening_into(script)
    with wiring.opening_into(deployment.rooms()):
        responses = sdk(gateway, deployment.key()).responses
        whole = responses.create(**HELLO)
        last = list(responses.create(**HELLO, stream=True))[-1]
    assert last.type == "response.incomplete"
    for response in (whole, last.response):
        assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.parametrize(("said", "ended"), [("stop", "response.completed"), ("length", "response.incomplete")])
def test_who_leaves_at_the_last_event_has_not_left_early(gateway: Gateway, said: str, ended: str) -> None:
    def script(_: Target, call: Call) -> Iterable[Step]:
        chunk = Delta(msgspec.json.encode({"choices": [{"delta": {"content": "x"}, "finish_reason": said}]}), 1)
        return list(Answered(Chat((Started("i"), chunk, Finished(Usage(1, 3)))), call))

    deployment = opening_into(script)
    with wiring.opening_into(deployment.rooms()):
        stream = sdk(gateway, deployment.key()).responses.create(**HELLO, stream=True)
        while next(stream).type != ended:
            pass
        entry = ledger(deployment)
        stream.close()
    assert (entry.outcome, entry.charged.tokens) == ("completed", 4)


def test_a_queued_stream_says_where_it_stands(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: [Waiting(2, 900), *says("hello", call)])
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", RESPONSES, key=deployment.key(), json={**HELLO, "stream": True})
    assert answer.body.startswith(b": queue_position=2 predicted_start_ms=900\n\nevent: response.created\n")


@pytest.mark.parametrize(
    ("failure", "code"), [(EngineFailed("It broke."), "server_error"), (Malformed("It broke."), "invalid_request")]
)
def test_a_stream_that_breaks_is_a_failed_response_and_an_error_that_the_sdk_raises(
    gateway: Gateway, failure: Exception, code: str
) -> None:
    def script(_: Target, call: Call) -> Iterable[Any]:
        return [*says("hello to you", call)[:6], failure]

    deployment = opening_into(script)
    with wiring.opening_into(deployment.rooms()):
        stream = sdk(gateway, deployment.key()).responses.create(**HELLO, stream=True)
        with pytest.raises(openai.APIError, match="It broke") as broken:
            list(stream)
        answer = gateway.call("POST", RESPONSES, key=deployment.key(), json={**HELLO, "stream": True})
    assert broken.value.code == code
    *_, error, failed = answer.body.rstrip(b"\n").split(b"\n\n")
    assert error.startswith(b"event: error\ndata: ")
    assert failed.startswith(b"event: response.failed\ndata: ")
    last = msgspec.json.decode(failed.partition(b"data: ")[2])
    assert last["sequence_number"] == 6
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": code, "message": "It broke."}
    entries = deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    assert [(entry.outcome, entry.charged.tokens) for entry in entries] == [("failed", 0)] * 2


def test_a_fault_of_ours_in_a_stream_is_told_without_its_text(gateway: Gateway) -> None:
    deployment = opening_into(lambda _target, _call: [Started("i"), Delta(b'{"type":"a\\nb"}'), Finished(Usage(1, 1))])
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", RESPONSES, key=deployment.key(), json={**HELLO, "stream": True})
    assert answer.body.startswith(b"event: error\n")
    assert answer.body.count(b"event: ") == 1
    assert msgspec.json.decode(answer.body.split(b"data: ")[1])["error"]["code"] == "server_error"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "9"}, "max_output_tokens"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"instructions": 3}, "instructions"),
        ({"n": 2}, "n"),
    ],
)
def test_a_form_that_is_wrong_is_named(gateway: Gateway, change: dict[str, Any], field: str) -> None:
    deployment = opening_into(lambda _, call: says("no", call))
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", RESPONSES, key=deployment.key(), json={**HELLO, **change})
    assert answer.status == 400
    assert (answer.json["error"]["type"], answer.json["error"]["param"]) == ("invalid_request_error", field)
    assert deployment.engine.opened == 0


def test_errors_before_the_first_byte_are_the_sdks_own(gateway: Gateway) -> None:
    deployment = opening_into(lambda _target, _call: [NoCapacity("Full.", retry_in_ms=20)])
    with wiring.opening_into(deployment.rooms()):
        responses = sdk(gateway, deployment.key()).responses
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as refused:
                responses.create(**HELLO, stream=stream)
            assert refused.value.code == "no_capacity"
        with pytest.raises(openai.NotFoundError):
            responses.create(**{**HELLO, "model": "no-such-model"})
        with pytest.raises(openai.PermissionDeniedError):
            sdk(gateway, deployment.key(surfaces=("anthropic",))).responses.create(**HELLO)


def test_a_sealed_request_is_sent_to_the_routes_that_take_one(gateway: Gateway, deployment: Deployment) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    answer = gateway.call("POST", RESPONSES, key=deployment.key("acme"), body=b"sealed", headers=headers)
    assert answer.status == 400
    assert "/chat/completions" in answer.json["error"]["message"]
