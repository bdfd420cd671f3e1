"""What those who test may command at `POST /_control`: faults, keys, answers, guardrails.

A command is one JSON object whose `do` says what it is.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from emulators.bedrock.answer import Laid
from emulators.bedrock.callers import AccessKey, Bearer, Keys
from emulators.bedrock.catalogue import Profile
from emulators.bedrock.guardrail import Guardrail
from emulators.bedrock.refusal import STATUS, UNREADABLE, invalid

CALLS_KEPT = 10_000


class Aim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Which requests a fault hits: the next `times` (null: all) of this operation, model and region; empty: of any.

    `after_events` spares so many events of a stream first, and hits streams only; null hits before the answer.
    """

    operation: str = ""
    model: str = ""
    region: str = ""
    times: int | None = 1
    after_events: int | None = None

    def hits(self, seen: "Seen", *, in_stream: bool) -> bool:
        return (
            in_stream == (self.after_events is not None)
            and self.operation in ("", seen.operation)
            and self.model in ("", seen.model, seen.called_by)
            and self.region in ("", seen.region)
        )


class Fail(Aim, frozen=True, tag="fail"):
    """Refuse with this error, `ThrottlingException` for one; in a stream, as its exception event."""

    error: str
    message: str = ""
    retry_after_s: int | None = None


class Stall(Aim, frozen=True, tag="stall"):
    """Say nothing for so long; null: until `release`, or the caller leaves."""

    for_ms: int | None = None


class Cut(Aim, frozen=True, tag="cut"):
    """Close the connection: in a stream in the middle of its next event, else in the middle of the body."""


class Accept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="accept"):
    """Let a key in, or in again after it had expired."""

    bearer: Bearer | None = None
    access_key: AccessKey | None = None


class Expire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="expire"):
    """From now on this API key, or access key of this ID, has expired."""

    key: str


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="forget"):
    """From now on this API key, or access key of this ID, is unknown."""

    key: str


class Say(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="say"):
    """The next `times` answers (null: all) consist of these blocks."""

    blocks: tuple[Laid, ...]
    times: int | None = 1


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="guard"):
    """Make a guardrail, or make it anew."""

    guardrail: Guardrail


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="release"):
    """End every stall that holds a request now."""


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="reset"):
    """As at the start: no faults, answers, application profiles or calls; the keys and guardrails of the start."""


Fault = Fail | Stall | Cut
Command = Fault | Accept | Expire | Forget | Say | Guard | Release | Reset


class Seen(msgspec.Struct, frozen=True):
    """A request as faults look at it: `model` is a foundation model's ID, `called_by` what the caller wrote."""

    operation: str
    region: str
    model: str = ""
    called_by: str = ""


class Call(msgspec.Struct, frozen=True):
    """What `GET /_control` tells of one request. `called_by` is the model or guardrail, as its caller wrote it."""

    request_id: str
    operation: str
    region: str
    key: str
    called_by: str
    request_bytes: int
    status: int


class Control:
    """The state that commands change. Used from one event loop only."""

    def __init__(self, keys: Keys, guardrails: Sequence[Guardrail] = ()) -> None:
        self._at_start = keys
        self._guardrails_at_start = guardrails
        self._released = asyncio.Event()
        self._reset()

    def obey(self, body: bytes) -> None:
        """Raises Refused where this is no command."""
        try:
            command = msgspec.json.decode(body, type=Command)
        except UNREADABLE as error:
            raise invalid(f"This is no command: {error}. docs/local-bedrock.md has them all.") from None
        match command:
            case Fail(error=code) if code not in STATUS:
                raise invalid(f"There is no error {code}. There are: {', '.join(STATUS)}.")
            case Fail() | Stall() | Cut():
                self._faults.append(command)
            case Accept(bearer, access_key):
                self._accept(bearer, access_key)
            case Expire(key):
                self._expired.add(key)
            case Forget(key):
                self._bearers.pop(key, None)
                self._access_keys.pop(key, None)
                self._expired.discard(key)
            case Say():
                self._answers.append(command)
            case Guard(guardrail):
                self.guardrails[guardrail.id, guardrail.version] = guardrail
            case Release():
                self._release()
            case Reset():
                self._release()
                self._reset()

    @property
    def keys(self) -> Keys:
        return Keys(self._access_keys, self._bearers, self._expired)

    def fault(self, seen: Seen, *, in_stream: bool) -> Fault | None:
        """The fault that hits this request; it is spent by it."""
        for index, fault in enumerate(self._faults):
            if fault.hits(seen, in_stream=in_stream):
                _spend(self._faults, index)
                return fault
        return None

    def answer(self) -> Sequence[Laid] | None:
        """The blocks of an answer that was laid down; it is spent by this."""
        if not self._answers:
            return None
        blocks = self._answers[0].blocks
        _spend(self._answers, 0)
        return blocks

    def guardrail(self, identifier: str, version: str) -> Guardrail | None:
        """By its ID or ARN."""
        return self.guardrails.get((identifier.rpartition("/")[2], version))

    async def stalled(self, stall: Stall) -> None:
        """Return when the stall is over."""
        try:
            async with asyncio.timeout(None if stall.for_ms is None else stall.for_ms / 1000):
                await self._released.wait()
        except TimeoutError:
            return

    def _accept(self, bearer: Bearer | None, access_key: AccessKey | None) -> None:
        if bearer:
            self._bearers[bearer.key] = bearer
            self._expired.discard(bearer.key)
        if access_key:
            self._access_keys[access_key.access_key_id] = access_key
            self._expired.discard(access_key.access_key_id)

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    def _reset(self) -> None:
        self._bearers = dict(self._at_start.bearers)
        self._access_keys = dict(self._at_start.access_keys)
        self._expired = set(self._at_start.expired)
        self._faults: list[Fault] = []
        self._answers: list[Say] = []
        self.guardrails = {(each.id, each.version): each for each in self._guardrails_at_start}
        self.profiles: dict[str, Profile] = {}
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)


def _spend(queue: list[Any], index: int) -> None:
    left = queue[index].times
    if left is None:
        return
    if left <= 1:
        del queue[index]
    else:
        queue[index] = msgspec.structs.replace(queue[index], times=left - 1)
