"""Converse in the caller's own words, and its answer in Bedrock's: nothing is translated. Pure.

What we must know of it is read where it stands: the ceiling, the tokens that were used, and what is not the caller's.
"""

from collections.abc import Iterator, Mapping

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Started
from chalicelib.dialects import buckets, ceilings, failures
from chalicelib.dialects.converse.answers import counted
from chalicelib.refusal import EngineFailed, Malformed

OPERATORS: Mapping[str, object] = {
    "guardrailConfig": None,
    "performanceConfig": {"latency": "standard"},
    "serviceTier": {"type": "default"},
}
"""What is in the operator's account, or has another price than the pool's; and what a caller may say of it: the same
as nothing."""

_FREE = ("input", "json")  # what callers and models say to each other there, nobody else reads

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Whole(msgspec.Struct):
    output: msgspec.Raw
    usage: msgspec.Raw


_whole = msgspec.json.Decoder(_Whole)


def must_be_the_callers(body: bytes) -> None:
    """See that the request asks for nothing that is not its caller's to ask for. Raises Malformed."""
    try:
        fields = _fields.decode(body)
        for name, same in OPERATORS.items():
            if name in fields and msgspec.json.decode(fields[name]) not in (None, same):
                raise Malformed(f"`{name}` is for the operator of the service to say. Leave it out.", field=name)
        buckets.must_name_none(body, _FREE)
    except msgspec.ValidationError:
        raise Malformed("A Converse request is a JSON object.", field="body") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("The body is not valid JSON.", field="body") from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.", field="body") from None


def request(call: Call) -> bytes:
    """The body to send: the caller's, with the ceiling that was reserved. Raises Malformed."""
    return ceilings.bounded_converse(bytes(call.fields["body"]), call.ceiling_tokens)


def whole(body: bytes) -> tuple[Delta, Finished]:
    """A whole answer. Raises EngineFailed if it is none."""
    try:
        usage = counted(_whole.decode(body).usage)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed(failures.NOT_UNDERSTOOD) from None
    return Delta(body, usage.completion_tokens), Finished(usage)


class Reader:
    """One streamed answer. Each event is an object of one member, as SDKs show it: its type. Not thread-safe."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._opening: Delta | None = None  # `messageStart`, which says nothing yet
        self._begun = False
        self.done = False

    def read(self, kind: str, payload: bytes) -> Iterator[Event]:
        """See Reader.read."""
        try:
            said = _fields.decode(payload)
            usage = counted(said["usage"]) if kind == "metadata" and "usage" in said else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        data = msgspec.json.encode({kind: msgspec.Raw(payload)})
        if kind == "messageStart" and not self._begun:
            self._opening = Delta(data)
            return
        if not self._begun:
            # Only now: until there is something of the answer, another target may still be tried.
            self._begun = True
            yield self._started
            if self._opening is not None:
                yield self._opening
        if usage is not None:
            self.done = True
            yield Finished(usage, data)
        else:
            yield Delta(data, int(kind == "contentBlockDelta"))

    def end(self) -> Iterator[Event]:
        """See Reader.end. What was used is told last; without it the stream was cut."""
        raise EngineFailed(failures.BROKE_OFF)


def events(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The type and the members of each event that a Delta or a Finished of a stream holds."""
    for kind, members in _fields.decode(data).items():
        yield kind, bytes(members)
