"""The Anthropic surface: what the official `anthropic` package speaks, under `/tenants/{tenant}/v1/messages`.

A request's form is checked here; what a content block may be is the engine's to say. Engines answer in Anthropic's
own JSON: a whole message, or one text for each event of a stream.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.api.openai import Count
from chalicelib.call import Delta, Operation, Pause, Waiting
from chalicelib.dialects.anthropic import members
from chalicelib.http.asks import ask_of
from chalicelib.http.doors import Piece
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import buffered, streamed, waiting
from chalicelib.http.sealed_calls import is_sealed
from chalicelib.http.silence import PING
from chalicelib.http.surface import Surface
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.refusal import EngineFailed, Malformed

surface = Surface(__name__, "anthropic", title="Anthropic", prefix="/tenants/{tenant}/v1/messages", auth="key")

One = Annotated[int, msgspec.Meta(ge=1, le=1)]


class Block(msgspec.Struct, frozen=True):
    """A content block; its other members depend on its type, and pass through."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Turn(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class CountTokensRequest(msgspec.Struct, frozen=True):
    """Members that the gateway itself looks at; all others reach the engine as they are."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[Turn], msgspec.Meta(min_length=1)]
    system: str | list[Block] | None = None
    n: One | None = None  # not Anthropic's, but servers there are that would generate so many
    best_of: One | None = None


class MessagesRequest(CountTokensRequest, frozen=True, kw_only=True):
    """What is counted, and how much may be answered."""

    max_tokens: Count
    stream: bool | None = None


class MessageUsage(msgspec.Struct, frozen=True):
    """The server's own count."""

    input_tokens: int
    output_tokens: int


class AnthropicMessage(msgspec.Struct, frozen=True):
    """An answer, as Anthropic has it."""

    id: str
    content: list[Block]
    model: str
    stop_reason: str | None
    stop_sequence: str | None
    usage: MessageUsage
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"


class TokenCount(msgspec.Struct, frozen=True):
    """The server's own count."""

    input_tokens: int


class _Event(msgspec.Struct):
    type: Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,64}$")]


_event = msgspec.json.Decoder(_Event)


@surface.door(
    "POST", "/tenants/{tenant}/v1/messages", permission="infer",
    summary="Answer a message", accepts=MessagesRequest, returns=AnthropicMessage, streams=True, infers=True,
)  # fmt: skip
def create_message(asked: Incoming) -> Any:
    """On every pool that answers chats. With `stream`, the answer comes as Anthropic's named events."""
    _must_be_clear(asked)
    request = asked.json(MessagesRequest)
    return _infer(asked, request, "messages", request.max_tokens, stream=bool(request.stream))


@surface.door(
    "POST", "/tenants/{tenant}/v1/messages/count_tokens", permission="infer",
    summary="Count the tokens of a message", accepts=CountTokensRequest, returns=TokenCount, infers=True,
)  # fmt: skip
def count_message_tokens(asked: Incoming) -> Any:
    """By the server's own count: it costs the prompt, and nothing for an answer."""
    _must_be_clear(asked)
    return _infer(asked, asked.json(CountTokensRequest), "messages.count_tokens", None, stream=False)


def _must_be_clear(asked: Incoming) -> None:
    if is_sealed(asked):
        raise Malformed("Anthropic's routes take no sealed requests: seal a chat, and send it to .../chat/completions.")


def _infer(
    asked: Incoming, request: CountTokensRequest, operation: Operation, max_tokens: int | None, *, stream: bool
) -> Any:
    fields = asked.json(dict[str, msgspec.Raw])
    if betas := asked.headers.get(members.HEADER):
        fields[members.HEADER] = msgspec.Raw(msgspec.json.encode(betas))
    ask = ask_of(
        asked,
        "anthropic",
        operation,
        tenant=asked.parameters["tenant"],
        pool=request.model,
        fields=fields,
        max_tokens=max_tokens,
        stream=stream,
    )
    answer = run(ask, wiring.path())
    if not stream:
        return buffered(answer, asked, lambda whole: whole)
    return streamed(answer, asked, _events(answer), "anthropic")


def _events(answer: Answer) -> Iterator[Piece]:
    """The answer as server-sent events in Anthropic's form, which names each."""
    last = b""
    for event in answer:
        if isinstance(event, Waiting):
            yield waiting(event) + PING
        elif isinstance(event, Pause):
            yield event
        elif isinstance(event, Delta):
            name = _name(event.data)
            framed = b"event: " + name + b"\ndata: " + event.data + b"\n\n"
            if name == b"message_stop":
                last = framed  # whoever has read it may leave: the answer is to be settled by then
            else:
                yield framed
    yield last


def _name(data: bytes) -> bytes:
    try:
        return _event.decode(data).type.encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed("The model's answer could not be read. Try again.") from None
