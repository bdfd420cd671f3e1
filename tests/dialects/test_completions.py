"""Completions of models that take chats alone: asked as a chat, answered as a completion."""

from typing import Any

import msgspec
import pytest

from chalicelib.call import Delta, Finished, Started, Usage
from chalicelib.dialects.completions import Answered, as_chat
from chalicelib.refusal import EngineFailed, Malformed
from tests.engines.answers import Chat
from tests.engines.bedrocks import ask

USED = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


def piece(kind: str, said: dict[str, Any], stop: str | None = None) -> bytes:
    choice = {"index": 0, kind: said, "logprobs": None, "finish_reason": stop}
    return msgspec.json.encode({"id": "chatcmpl-1", "created": 7, "model": "model-a", "choices": [choice]})


@pytest.mark.parametrize("prompt", ["Once upon", ["Once upon"]])
def test_a_prompt_is_what_the_user_says(prompt: object) -> None:
    chat = as_chat(ask("completions", {"prompt": prompt, "stop": ["END"], "echo": False, "suffix": None}))
    assert chat.operation == "chat.completions"
    assert {name: msgspec.json.decode(value) for name, value in chat.fields.items()} == {
        "messages": [{"role": "user", "content": "Once upon"}],
        "stop": ["END"],
    }


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "logprobs": 0}, "logprobs"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
    ],
)
def test_what_a_chat_cannot_say_is_refused_by_name(fields: dict[str, object], field: str) -> None:
    with pytest.raises(Malformed) as refused:
        as_chat(ask("completions", fields))
    assert refused.value.field == field


def test_an_answer_is_a_completions() -> None:
    asked, started, usage = ask("completions", {"prompt": "Hi"}), Started("us"), Usage(2, 1)
    whole = msgspec.json.decode(piece("message", {"content": "there"}, "stop")) | {"usage": USED}
    for chat in (
        Chat((started, Delta(msgspec.json.encode(whole), 1), Finished(usage))),
        Chat(
            (
                started,
                Delta(piece("delta", {"content": "there"}, "stop"), 1),
                Finished(usage, b'{"created":7,"usage":{}}'),
            )
        ),
    ):
        stream = Answered(chat, asked)
        begun, delta, finished = list(stream)
        assert begun == started
        assert isinstance(delta, Delta)
        told = msgspec.json.decode(delta.data)
        assert (told["id"], told["object"], told["created"], told["model"]) == (
            "cmpl-req-1",
            "text_completion",
            7,
            "model-a",
        )
        assert told["choices"] == [{"index": 0, "text": "there", "logprobs": None, "finish_reason": "stop"}]
        assert delta.tokens == 1
        assert isinstance(finished, Finished)
        assert finished.usage == usage
        stream.close()
        assert chat.closed


def test_an_answer_that_is_none_is_a_failed_engine() -> None:
    with pytest.raises(EngineFailed):
        list(Answered(Chat((Delta(b"nonsense"),)), ask("completions", {"prompt": "Hi"})))
