"""From what an enclave opened to a call, with what the ticket permits in force; and the native answer to it. Pure."""

from typing import Annotated

import msgspec

from sealed import ticket
from sealed.refusal import TicketRefused
from sealed.ticket import Claims
from serving.refusal import EngineFailed, Malformed
from serving.reply import Usage
from serving.request import Attributes, Call, read

LENGTH_BYTES = 2
# What servers know `max_tokens` and `n` by besides: llama.cpp lets `n_predict` count more than `max_tokens`.
OTHER_CEILINGS = ("max_completion_tokens", "max_new_tokens", "n_predict", "n_cmpl")

Count = Annotated[int, msgspec.Meta(ge=1)]
One = Annotated[int, msgspec.Meta(ge=1, le=1)]


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class RequestOptions(msgspec.Struct, frozen=True):
    """What must be so in every request, whatever its ticket says. One answer: only one is reserved."""

    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: One | None = None
    best_of: One | None = None
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class PermittedCall(msgspec.Struct, frozen=True):
    call: Call
    wants_usage: bool  # in a stream, by an event of its own


class Message(msgspec.Struct, frozen=True):
    content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    message: Message = Message()
    finish_reason: str | None = None


class Chat(msgspec.Struct, frozen=True):
    choices: tuple[Choice, ...] = ()


class NativeAnswer(msgspec.Struct, frozen=True):
    text: str
    finish_reason: str | None
    usage: Usage
    model: str
    request_id: str


_options = msgspec.json.Decoder(RequestOptions)
_chat = msgspec.json.Decoder(Chat)


def claims_of(body: bytes) -> Claims:
    """What the ticket in front of a sealed request says. It counts once the enclave has opened what goes with it.

    Raises: Malformed.
    """
    length = int.from_bytes(body[:LENGTH_BYTES])
    try:
        return ticket.read(body[LENGTH_BYTES : LENGTH_BYTES + length])
    except TicketRefused as error:
        raise Malformed(f"a sealed request begins with its ticket: {error.text}") from None


def permitted_call(plaintext: bytes, claims: Claims, attributes: Attributes, model: str) -> PermittedCall:
    """The call that this request and its ticket make together, for an engine that knows the model as `model`.

    Raises: Malformed.
    """
    call = read(plaintext, attributes)
    try:
        options = _options.decode(plaintext)
    except msgspec.ValidationError as error:
        raise Malformed(f"the opened request has a field that is not as it must be: {error}") from None
    if call.stream != claims.stream:
        raise Malformed("`stream` in the opened request is not what the call was admitted as")
    fields = {name: value for name, value in call.fields.items() if name not in ("nonce", "stream", "stream_options")}
    if claims.surface == "native":
        fields = _chat_of(fields)
    if call.op == "completions" and _several(fields.get("prompt", msgspec.Raw(b"null"))):
        raise Malformed("one prompt is admitted at a time: send a request for each")
    fields["model"] = _raw(model)
    if call.op != "embeddings":
        for name in OTHER_CEILINGS:
            fields.pop(name, None)
        wanted = options.max_completion_tokens or options.max_tokens or claims.ceiling_tokens
        fields["max_tokens"] = _raw(min(wanted, claims.ceiling_tokens))
    if call.stream:
        fields["stream"] = _raw(True)
        fields["stream_options"] = _raw(StreamOptions(include_usage=True))
    return PermittedCall(Call(attributes, model, call.stream, fields), options.wants_usage)


def native_answer(chat: bytes, usage: Usage, claims: Claims) -> bytes:
    """An engine's chat answer as the native surface gives it. Raises: EngineFailed."""
    try:
        choices = _chat.decode(chat).choices
    except msgspec.DecodeError:
        raise EngineFailed("the engine's answer is not what it should be") from None
    choice = choices[0] if choices else Choice()
    text = choice.message.content or ""
    return msgspec.json.encode(NativeAnswer(text, choice.finish_reason, usage, claims.pool, claims.request_id))


def _chat_of(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    if ("prompt" in fields) == ("messages" in fields):
        raise Malformed("the opened request needs either `prompt` or `messages`")
    rest = {name: value for name, value in fields.items() if name != "prompt"}
    if "prompt" in fields:
        rest["messages"] = msgspec.Raw(b'[{"role":"user","content":' + bytes(fields["prompt"]) + b"}]")
    return rest


def _several(prompt: msgspec.Raw) -> bool:
    prompts = msgspec.json.decode(prompt)
    return isinstance(prompts, list) and len(prompts) > 1 and not all(isinstance(token, int) for token in prompts)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
