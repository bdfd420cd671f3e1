"""Anthropic's Messages at the engines that speak OpenAI's API, over real sockets."""

import msgspec
import pytest

from chalicelib.call import Delta, Finished, Started, Usage
from chalicelib.engines import begin
from chalicelib.pool import SageMaker
from chalicelib.refusal import Malformed
from tests.engines import test_sagemaker as sagemaker
from tests.engines.answers import STREAM, WHOLE, chat
from tests.engines.frames import part
from tests.engines.openai_server import WHOLE_STREAM, engine_for
from tests.engines.servers import LAST_CHUNK, always, whole


def test_a_message_is_asked_as_a_chat_and_answered_as_a_message() -> None:
    with engine_for(always(whole(WHOLE, x_instance_id="i-9"))) as (engine, target, server):
        started, answer, finished = begin(engine, target, chat(operation="messages"))
    assert server.requests[0].path == "/v1/chat/completions"
    assert (started, finished) == (Started("i-9"), Finished(Usage(7, 2)))
    assert isinstance(answer, Delta)
    assert msgspec.json.decode(answer.data)["content"] == [{"type": "text", "text": "Hello there"}]


def test_a_streamed_message_ends_with_its_count() -> None:
    with engine_for(always(WHOLE_STREAM)) as (engine, target, _):
        events = list(begin(engine, target, chat(operation="messages", stream=True)))
    assert [msgspec.json.decode(event.data)["type"] for event in events if isinstance(event, Delta)] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        "message_delta",
        "message_stop",
    ]
    assert events[-1] == Finished(Usage(7, 2))


def test_a_count_asks_for_one_token_and_charges_none() -> None:
    with engine_for(always(whole(WHOLE))) as (engine, target, server):
        _, *answer = begin(engine, target, chat(operation="messages.count_tokens"))
    assert msgspec.json.decode(server.requests[0].body)["max_tokens"] == 1
    assert answer == [Delta(b'{"input_tokens":7}'), Finished(Usage(7))]


def test_what_a_chat_cannot_say_never_reaches_the_server() -> None:
    call = chat(operation="messages")
    fields = {**call.fields, "thinking": msgspec.Raw(b'{"type":"enabled","budget_tokens":2048}')}
    with engine_for(always(whole(WHOLE))) as (engine, target, server), pytest.raises(Malformed):
        begin(engine, target, msgspec.structs.replace(call, fields=fields))
    assert server.requests == []


@pytest.mark.parametrize("target", [sagemaker.COMPONENT, sagemaker.MULTI_MODEL], ids=["component", "multi-model"])
@pytest.mark.parametrize("stream", [False, True])
def test_sagemaker_is_asked_for_a_chat_as_well(target: SageMaker, stream: bool) -> None:
    framed = stream and not target.target_model
    answer = (
        sagemaker.framed(part(STREAM)) + LAST_CHUNK
        if framed
        else whole(STREAM if stream else WHOLE, 200, "text/event-stream" if stream else "application/json")
    )
    with sagemaker.engine_for(always(answer)) as (engine, server):
        events = list(begin(engine, target, chat(operation="messages", stream=stream)))
    assert "op=chat.completions" in server.requests[0].headers["x-amzn-sagemaker-custom-attributes"]
    last = [event for event in events if isinstance(event, Delta)][-1]
    assert msgspec.json.decode(last.data)["type"] == ("message_stop" if stream else "message")
    assert events[-1] == Finished(Usage(7, 2))
