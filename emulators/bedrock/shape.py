"""What the shapes of all providers have in common: reading a body strictly, and the numbers that end an answer."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from emulators.bedrock.catalogue import Model
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Text, ToolUse
from emulators.bedrock.refusal import UNREADABLE, invalid, malformed, malformed_member

Body = TypeVar("Body", bound=msgspec.Struct)


class Metrics(msgspec.Struct, frozen=True):
    """The numbers of one answer."""

    input_tokens: int
    output_tokens: int
    latency_ms: int
    first_byte_ms: int

    def invocation(self) -> dict[str, Any]:
        """What the last event of a stream of InvokeModelWithResponseStream carries besides."""
        return {
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": self.input_tokens,
                "outputTokenCount": self.output_tokens,
                "invocationLatency": self.latency_ms,
                "firstByteLatency": self.first_byte_ms,
            }
        }


class Said(msgspec.Struct, frozen=True):
    """A whole answer: pieces of text joined, blocks in order."""

    blocks: tuple[Text | ToolUse, ...]
    ended: Ended


class Stream(Protocol):
    """One streamed answer in a provider's shape."""

    def events(self, event: Event) -> Iterable[dict[str, Any]]:
        """What to send for this; nothing for the last, which needs the metrics."""
        ...

    def last(self, ended: Ended, metrics: Metrics) -> Iterable[dict[str, Any]]: ...


class Shape(Protocol):
    """How a family of models is spoken to through InvokeModel."""

    def read(self, body: bytes, model: Model) -> Conversation:
        """Raises Refused."""
        ...

    def whole(self, said: Said, metrics: Metrics) -> dict[str, Any]: ...

    def stream(self) -> Stream: ...


def gathered(events: Sequence[Event]) -> tuple[int, Said]:
    """The input tokens and the whole answer of a complete sequence of events."""
    began, *between, ended = events
    assert isinstance(began, Began) and isinstance(ended, Ended)
    blocks: list[Text | ToolUse] = []
    for event in between:
        match event:
            case Text(text) if blocks and isinstance(blocks[-1], Text):
                blocks[-1] = Text(blocks[-1].text + text)
            case Text() | ToolUse():
                blocks.append(event)
    return began.input_tokens, Said(tuple(blocks), ended)


def read(body: bytes, kind: type[Body]) -> Body:
    """The body as `kind` has it, whose fields are all that is permitted. Raises Refused in Bedrock's words."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        raise malformed("#: expected type: JSONObject") from None
    fields = {field.encode_name: field.required for field in msgspec.structs.fields(kind)}
    missing = [name for name, required in fields.items() if required and name not in members]
    extra = sorted(members.keys() - fields.keys())
    if missing or extra:
        found = [f"#: required key [{name}] not found" for name in missing]
        found += [f"#: extraneous key [{name}] is not permitted" for name in extra]
        raise malformed("".join(found))
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise malformed_member(error) from None
    except RecursionError:
        raise malformed("#: it nests too deeply") from None


def decoded(data: str, where: str) -> bytes:
    """Raises Refused where this is not base64."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{where}: invalid base64 data") from None


def ceiling(wanted: int, most: int) -> int:
    if wanted > most:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of {most}. Try again with a maximum tokens "
            f"value that is lower than {most}."
        )
    return wanted
