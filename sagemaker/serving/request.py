"""What is asked of a model: the body and its small attributes, read once and bounded.

The body is opened no further than needed: the fields named here are read, all others travel to the engine as the
bytes they came as.
"""

from collections.abc import Mapping

import msgspec

import bounds
from serving.refusal import Malformed

MAX_BODY_BYTES = 6 * 1024 * 1024  # SageMaker's own limit on an InvokeEndpoint body
MAX_ATTRIBUTES = 1024  # SageMaker's own limit on CustomAttributes, in characters
MAX_TAG = 128
HIGHEST_PRIORITY = 9
DEFAULT_PRIORITY = 5

# The operations, and how an engine's OpenAI server calls each.
ENGINE_PATHS = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
# What else `op` may be: the health of the container, and a question to the enclave behind it.
PROBE, ENCLAVE = "probe", "enclave"
OPERATIONS = (*ENGINE_PATHS, PROBE, ENCLAVE)


class Attributes(msgspec.Struct, frozen=True):
    """Who asks, and how urgently. `tenant` is an opaque tag, used for fairness and for nothing else."""

    op: str = "chat.completions"
    tenant: str = ""
    priority: int = DEFAULT_PRIORITY
    request: str = ""


class Head(msgspec.Struct, frozen=True):
    """The only fields of a body that this container reads."""

    model: str | None = None
    stream: bool | None = None


class Call(msgspec.Struct, frozen=True):
    """One model call. `fields` are the body's members, still encoded."""

    attributes: Attributes
    model: str | None
    stream: bool
    fields: dict[str, msgspec.Raw]

    @property
    def op(self) -> str:
        return self.attributes.op

    def body(self, overrides: Mapping[str, object]) -> bytes:
        """The body for the engine: as it came, with a few members replaced (None takes one out)."""
        fields: dict[str, object] = {**self.fields, **overrides}
        return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


_head = msgspec.json.Decoder(Head)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(body: bytes, attributes: Attributes) -> Call:
    """Raises: Malformed."""
    try:
        str(body, "utf-8")
        head = _head.decode(body)
        fields = _fields.decode(body)
    except msgspec.ValidationError as error:
        raise Malformed(f"the body has a field of the wrong type: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("the body is not a valid JSON object") from None
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    try:
        bounds.must_hold(fields)
    except bounds.Exceeded as exceeded:
        raise Malformed(exceeded.text) from None
    return Call(attributes, head.model, bool(head.stream), fields)


def read_attributes(text: str) -> Attributes:
    """`op=…;tenant=…;priority=…;request=…`, in any order; unknown names are ignored. Raises: Malformed."""
    if len(text) > MAX_ATTRIBUTES or not text.isascii():
        raise Malformed(f"custom attributes must be at most {MAX_ATTRIBUTES} ASCII characters")
    pairs = dict(part.partition("=")[::2] for part in text.split(";") if part.strip())
    named = {name.strip(): value.strip() for name, value in pairs.items()}
    return Attributes(
        op=read_op(named.get("op") or "chat.completions"),
        tenant=read_tag("tenant", named.get("tenant", "")),
        priority=read_priority(named.get("priority", "")),
        request=read_tag("request", named.get("request", "")),
    )


def read_op(text: str) -> str:
    if text not in OPERATIONS:
        raise Malformed("unknown operation; one of: " + ", ".join(OPERATIONS))
    return text


def read_priority(text: str) -> int:
    if not text:
        return DEFAULT_PRIORITY
    if not (text.isascii() and text.isdigit()) or int(text[:4]) > HIGHEST_PRIORITY:
        raise Malformed(f"priority must be a whole number from 0 to {HIGHEST_PRIORITY}")
    return int(text)


def read_tag(name: str, text: str) -> str:
    if len(text) > MAX_TAG or not text.isprintable() or not text.isascii():
        raise Malformed(f"{name} must be at most {MAX_TAG} printable ASCII characters")
    return text
