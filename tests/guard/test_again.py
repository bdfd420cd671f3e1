"""What a chunk says again is not read again, and nobody can tell by what is sent."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guard import Rule, Rules, Tools, compiled
from guard.bodies import Judge, NotAllowed, NotUnderstood
from guard.bodies.again import Again
from guard.bodies.chunks import Chunks
from tests.examples import examples

GUARD = compiled(
    Rules(
        rules=(Rule("secret", r"\bword-\d{4}\b"), Rule("bomb", "boom!", "refuse"), Rule("hot", "warm|hot", "flag")),
        tools=Tools(blocked=("delete_*",)),
    )
)
TEXTS = st.sampled_from(
    (
        "",
        "a",
        " word",
        "-12",
        "34",
        "34 ",
        "bo",
        "om",
        "om!",
        " hot",
        'é"\\',
        "\n",
        "data:",
        "data:a/b;base64,QQ==",
        "\0",
    )
)


def _chat(text: str, **more: Any) -> Any:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


def _block(text: str, **more: Any) -> Any:
    return {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": text}, **more}


CHATS = st.one_of(
    *(TEXTS.map(_chat),) * 4,
    TEXTS.map(lambda text: _chat(text, id="word-1234")),
    TEXTS.map(lambda text: _chat(text, note="it is hot")),
    TEXTS.map(lambda text: _chat(text, content=text)),
    TEXTS.map(lambda text: _chat(text, logprobs={"content": [{"token": text}]})),
    TEXTS.map(lambda text: {"choices": [{"index": 1, "delta": {"content": text}}]}),
    TEXTS.map(lambda text: {"choices": [{"index": 0, "delta": {"role": text}}]}),
    TEXTS.map(lambda text: {"choices": [{"index": 0, "delta": {"content": text, "reasoning": "so"}}]}),
    TEXTS.map(lambda text: {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}),
    TEXTS.map(lambda text: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": text}}]}}]}),
    TEXTS.map(lambda text: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}]}),
)
BLOCKS = st.one_of(
    *(TEXTS.map(_block),) * 4,
    TEXTS.map(lambda text: _block(text, index=2)),
    TEXTS.map(
        lambda text: {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": text}}
    ),
    st.just({"type": "content_block_stop", "index": 1}),
)
SPELLINGS = st.sampled_from((
    lambda chunk: msgspec.json.encode(chunk),
    lambda chunk: json.dumps(chunk).encode(),
    lambda chunk: json.dumps(chunk, separators=(" , ", " : ")).encode(),
))  # fmt: skip


def sent(operation: str, chunks: list[bytes]) -> Any:
    judged = Chunks(operation, Judge(GUARD, "out"))
    got: list[list[bytes]] = []
    try:
        for chunk in chunks:
            got.append(judged.read(chunk))
        got.append(judged.finish())
    except NotAllowed as refused:
        return got, refused.rule, refused.ending, judged.findings()
    except NotUnderstood:
        return got, "not understood"
    return got, judged.findings()


def never_again(chunks: list[bytes]) -> list[bytes]:
    """The same, each written so that none begins as the one before it."""
    return [b" " * (place % 2 + 1) + chunk for place, chunk in enumerate(chunks)]


@given(st.lists(CHATS, max_size=12), SPELLINGS)
@example([_chat(text) for text in (" word", "-12", "34", " bo", "om!")], msgspec.json.encode)
@settings(max_examples=examples(600))
def test_chats_are_told_as_if_each_chunk_were_read(chunks: list[Any], spelt: Any) -> None:
    written = [spelt(chunk) for chunk in chunks]
    assert sent("chat.completions", written) == sent("chat.completions", never_again(written))


@given(st.lists(BLOCKS, max_size=12), SPELLINGS)
@settings(max_examples=examples(300))
def test_messages_are_told_as_if_each_chunk_were_read(chunks: list[Any], spelt: Any) -> None:
    written = [spelt(chunk) for chunk in chunks]
    assert sent("messages", written) == sent("messages", never_again(written))


@given(st.lists(TEXTS, min_size=3, max_size=8), st.data())
@settings(max_examples=examples(300))
def test_chunks_that_are_broken_are_told_as_if_each_were_read(pieces: list[str], data: st.DataObject) -> None:
    written = [msgspec.json.encode(_chat(text)) for text in pieces]
    broken = written[-1]
    place = data.draw(st.integers(0, len(broken)))
    said = data.draw(st.sampled_from((b"", b'"', b"\\", b'","x":"', b"\xff", b"}", b" ")))
    written[-1] = broken[:place] + said + broken[place + data.draw(st.integers(0, 2)) :]
    assert sent("chat.completions", written) == sent("chat.completions", never_again(written))


def test_a_chunk_is_known_again_by_all_but_its_text() -> None:
    again = Again()
    again.learn(b'{"a":1,"content": "x","b":2}', b'{"a":1,"content":"","b":null}', "content", "x")
    assert again.text(b'{"a":1,"content": "y\\u00e9","b":2}') == "yé"
    assert again.told("z\n") == b'{"a":1,"content":"z\\n","b":null}'
    for other in (b'{"a":2,"content": "y","b":2}', b'{"a":1,"content": "y","b":3}', b'{"a":1,"content": "","b":2}'):
        assert again.text(other) is None


@pytest.mark.parametrize("member", ["id", "role", "type", 0])
def test_a_member_that_is_text_by_what_it_says_is_read_each_time(member: str | int) -> None:
    again = Again()
    again.learn(b'{"id":"a b","role":"x","type":"a b"}', b'{"id":"a b","role":"x","type":"a b"}', member, "a b")
    assert again.text(b'{"id":"abc","role":"x","type":"a b"}') is None
