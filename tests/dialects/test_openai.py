from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects.openai import Translator, buffered
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal
from tests.engines.answers import DONE, STREAM, USAGE_CHUNK, WHOLE, ending, event, said

TARGET = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")


def translated(*pieces: bytes, choices: int = 1) -> Iterator[Event]:
    translator = Translator(TARGET, "i-1", choices=choices)
    for piece in pieces:
        yield from translator.feed(piece)
    if not translator.done:
        yield from translator.end()


def test_a_stream_becomes_events_with_its_bytes_untouched() -> None:
    assert list(translated(STREAM)) == [
        Started("i-1"),
        Delta(said("Hello"), 1),
        Delta(said(" there"), 1),
        Finished(Usage(7, 2), USAGE_CHUNK),
    ]


@given(st.lists(st.integers(0, 700)))
def test_the_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    data = b": queue_position=2 predicted_start_ms=900\n\n: started queue_ms=5\n\n" + STREAM
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    assert list(translated(*(data[a:b] for a, b in pairwise(edges)))) == list(translated(data))


def test_news_of_the_queue_come_before_the_start_and_chatter_is_ignored() -> None:
    news = b": queue_position=2 predicted_start_ms=900\n\n: ping\n\n: queue_position=1\n\n: started queue_ms=950\n\n"
    assert list(translated(news + STREAM))[:3] == [
        Waiting(2, 900, "i-1"),
        Waiting(1, 0, "i-1"),
        Started("i-1", 950),
    ]


def test_nothing_has_started_before_the_first_chunk() -> None:
    """So that a target that dies in between can be replaced."""
    seen, refusal = ending(translated(b": started queue_ms=0\n\n"))
    assert seen == []
    assert isinstance(refusal, EngineFailed)


def test_usage_in_every_chunk_counts_once_and_the_last_is_right() -> None:
    def counted(text: str, tokens: int) -> bytes:
        return said(text)[:-1] + b',"usage":{"prompt_tokens":7,"completion_tokens":%d}}' % tokens

    *_, last_delta, finished = translated(event(counted("a", 1)) + event(counted("b", 2)) + DONE)
    assert last_delta == Delta(counted("b", 2), 1)
    assert finished == Finished(Usage(7, 2), b"")


@pytest.mark.parametrize(
    ("said_of_it", "cached"),
    [
        ({}, 0),
        ({"prompt_tokens_details": {"cached_tokens": 5}}, 5),
        ({"prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0}}, 5),
        ({"prompt_tokens_details": None}, 0),
        ({"prompt_tokens_details": {"cached_tokens": None}}, 0),
        ({"prompt_tokens_details": {}}, 0),
        ({"prompt_tokens_details": [7]}, 0),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, 0),
        ({"prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 2}, 5),
        ({"prompt_tokens_details": None, "prompt_cache_hit_tokens": 5}, 5),
        ({"prompt_tokens_details": {"cached_tokens": 99}}, 7),
    ],
)
def test_what_a_server_had_read_before_is_counted_as_part_of_the_prompt(said_of_it: object, cached: int) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, **said_of_it}  # type: ignore[dict-item]
    *_, finished = translated(event(said("a")) + event(msgspec.json.encode({"choices": [], "usage": usage})) + DONE)
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(7, 2, cached)
    assert buffered(msgspec.json.encode({"usage": usage}), TARGET)[1].usage == Usage(7, 2, cached)


@pytest.mark.parametrize(
    ("counted", "streamed", "whole"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 9}, Usage(7, 9), Usage(7, 9)),
        ({"prompt_tokens": 7, "total_tokens": 16}, Usage(7, 9), Usage(7, 9)),
        ({"prompt_tokens": 7, "completion_tokens": None}, Usage(7, 2), Usage(7, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}, Usage(7, 2), Usage(7, 3)),
        ({"prompt_tokens": 7}, Usage(7, 2), Usage(7, 3)),
        ({}, None, None),
        ({"completion_tokens": 9}, None, None),
        ({"prompt_tokens": None, "completion_tokens": 9}, None, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, None),
    ],
    ids=repr,
)
def test_what_a_server_did_not_count_is_not_free(counted: object, streamed: Usage | None, whole: Usage | None) -> None:
    """None: whoever settles goes by the prompt's estimate, and by the tokens that were seen."""
    asked = event(said("Hello")) + event(said(" there"))
    *_, finished = translated(asked + event(msgspec.json.encode({"choices": [], "usage": counted})) + DONE)
    assert isinstance(finished, Finished)
    assert finished.usage == streamed
    message = {"role": "assistant", "content": "Hello the"}
    body = msgspec.json.encode({"choices": [{"index": 0, "message": message}], "usage": counted})
    delta, finished = buffered(body, TARGET)
    assert finished.usage == whole
    assert delta.tokens == (whole.completion_tokens if whole else 3)


def test_a_count_stands_until_a_better_one_comes() -> None:
    counted = said("a")[:-1] + b',"usage":{"prompt_tokens":7,"completion_tokens":2}}'
    *_, finished = translated(event(counted) + event(b'{"choices":[],"usage":{}}') + DONE)
    assert finished == Finished(Usage(7, 2), b'{"choices":[],"usage":{}}')


@pytest.mark.parametrize(
    ("choice", "tokens"),
    [
        ({"message": {"content": "x" * 38}}, 10),
        ({"message": {"content": "x" * 18, "reasoning_content": "y" * 18}}, 10),
        ({"message": {"content": None, "tool_calls": [{"id": "c"}]}}, 3),
        ({"text": "x" * 38}, 10),
        ({"message": {"content": ""}}, 0),
        ({"message": None, "text": None}, 0),
        (7, 0),
    ],
    ids=repr,
)
def test_a_whole_answer_without_counts_is_as_many_tokens_as_it_may_be(choice: object, tokens: int) -> None:
    delta, finished = buffered(msgspec.json.encode({"choices": [choice]}), TARGET)
    assert (delta.tokens, finished.usage) == (tokens, None)


def test_a_chunk_without_choices_that_is_not_the_last_is_passed_on() -> None:
    filtered = b'{"choices":[],"prompt_filter_results":[]}'
    events = list(translated(event(filtered) + event(USAGE_CHUNK) + event(said("x")) + event(USAGE_CHUNK) + DONE))
    assert events[1:] == [
        Delta(filtered),
        Delta(USAGE_CHUNK),
        Delta(said("x"), 1),
        Finished(Usage(7, 2), USAGE_CHUNK),
    ]


@pytest.mark.parametrize(
    ("choices", "tokens"),
    [
        (b'[{"delta":{"role":"assistant","content":""}}]', 0),
        (b'[{"delta":{"content":null},"finish_reason":"stop"}]', 0),
        (b'[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]', 2),
        (b'[{"delta":{"reasoning_content":"hm"}}]', 1),
        (b'[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]', 1),
        (b'[{"text":" there"}]', 1),
        (b'[{"text":"","finish_reason":"length"}]', 0),
    ],
)
def test_tokens_are_counted_for_each_choice_that_gained_something(choices: bytes, tokens: int) -> None:
    _, delta, _ = translated(event(b'{"choices":' + choices + b"}") + DONE)
    assert isinstance(delta, Delta)
    assert delta.tokens == tokens


@pytest.mark.parametrize(
    "garbage", [b"nonsense", b"[1]", b'{"choices":7}', b'{"usage":{"prompt_tokens":-1}}', b"\xff\xfe"]
)
def test_garbage_in_a_stream_is_a_failed_engine(garbage: bytes) -> None:
    seen, refusal = ending(translated(event(said("Hello")) + event(garbage) + DONE))
    assert seen == [Started("i-1"), Delta(said("Hello"), 1)]
    assert isinstance(refusal, EngineFailed)


@pytest.mark.parametrize("cut", [1, 5, 12, len(STREAM) // 2, len(STREAM) - 1])
def test_an_end_without_done_is_a_failed_engine(cut: int) -> None:
    _, refusal = ending(translated(STREAM[:cut]))
    assert isinstance(refusal, EngineFailed)


def stop(*finished: int, reason: str | None = "stop", text: bool = False) -> bytes:
    """A chunk in which these choices end."""
    member: dict[str, object] = {"text": ""} if text else {"delta": {}}
    choices = [{"index": index, **member, "finish_reason": reason} for index in finished]
    return event(msgspec.json.encode({"choices": choices}))


NUMBERLESS = event(b'{"choices":[{"delta":{},"finish_reason":"stop"}]}')
SAID = event(said("Hello"))


@pytest.mark.parametrize(
    ("stream", "choices"),
    [
        (SAID + stop(0), 1),
        (SAID + stop(0, reason="length"), 1),
        (SAID + stop(0, reason="tool_calls"), 1),
        (SAID + stop(0, text=True), 1),
        (SAID + NUMBERLESS, 1),
        (SAID + stop(0, 1), 2),
        (SAID + stop(1) + event(said("more")) + stop(0), 2),
    ],
)
@pytest.mark.parametrize("counted", [True, False])
def test_an_answer_whose_choices_have_all_ended_is_complete_without_done(
    stream: bytes, choices: int, counted: bool
) -> None:
    *_, finished = translated(stream + (event(USAGE_CHUNK) if counted else b""), choices=choices)
    assert finished == (Finished(Usage(7, 2), USAGE_CHUNK) if counted else Finished(None))


@pytest.mark.parametrize(
    ("stream", "choices"),
    [
        (SAID, 1),
        (SAID + event(USAGE_CHUNK), 1),
        (SAID + stop(0, reason=None), 1),
        (SAID + stop(0, reason=""), 1),
        (SAID + stop(0), 2),
        (SAID + stop(1, 1), 2),
        (SAID + stop(0)[:-1], 1),
        (b"", 1),
    ],
)
def test_an_answer_with_a_choice_that_has_not_ended_was_cut(stream: bytes, choices: int) -> None:
    assert isinstance(ending(translated(stream, choices=choices))[1], EngineFailed)


def test_done_without_any_chunk_is_a_failed_engine() -> None:
    assert isinstance(ending(translated(DONE))[1], EngineFailed)


def test_what_follows_done_is_of_no_interest() -> None:
    assert list(translated(STREAM + event(b"nonsense"))) == list(translated(STREAM))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (b'{"error":{"message":"full","type":"server_error","code":"queue_full"}}', NoCapacity),
        (b'{"error":{"message":"slow","type":"server_error","code":"engine_timeout"}}', EngineTimedOut),
        (b'{"error":{"message":"died","type":"server_error","code":"engine_failed"}}', EngineFailed),
        (b'{"error":{"message":"bad seed","type":"invalid_request_error","code":"invalid_request"}}', Malformed),
        (b'{"error":{"message":"bad seed","type":"BadRequestError","code":400}}', Malformed),
        (b'{"object":"error","message":"bad seed","type":"BadRequestError","code":400}', Malformed),
        (b'{"error":"Model is overloaded","error_type":"overloaded"}', NoCapacity),
        (b'{"error":{"code":{"odd":true}}}', EngineFailed),
        (b'{"error":[]}', EngineFailed),
    ],
)
def test_an_error_in_place_of_an_answer_is_what_it_says(error: bytes, kind: type[Refusal]) -> None:
    seen, refusal = ending(translated(event(error)))
    assert (seen, type(refusal)) == ([], kind)
    with pytest.raises(kind):
        buffered(error, TARGET)


def test_a_buffered_answer_is_one_delta_and_its_usage() -> None:
    assert buffered(WHOLE, TARGET) == (Delta(WHOLE, 2), Finished(Usage(7, 2)))


def test_an_answer_without_usage_finishes_without() -> None:
    body = b'{"object":"list","data":[]}'
    assert buffered(body, TARGET) == (Delta(body), Finished(None))


@pytest.mark.parametrize("garbage", [b"", b"<html>", b"[]", b'"text"', b'{"usage":3}', WHOLE[:-1]])
def test_a_buffered_answer_that_is_no_json_object_is_a_failed_engine(garbage: bytes) -> None:
    with pytest.raises(EngineFailed):
        buffered(garbage, TARGET)


def test_json_over_several_lines_is_passed_on_as_one() -> None:
    _, delta, _ = translated(b'data: {"choices":\ndata: [{"text":"x"}]}\n\n' + DONE)
    assert delta == Delta(b'{"choices": [{"text":"x"}]}', 1)
