"""What those who test may command at `POST /_cognito`: other keys, wrong claims, slow and failing answers.

A command is one JSON object whose `do` says what it is. `GET /_cognito` tells what was called.
"""

import asyncio
from collections import deque
from typing import Any

import msgspec

from emulators.cognito.refusal import invalid

_CALLS_KEPT = 10_000


class Rotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="rotate"):
    """Sign with new keys from now on. The former ones stay published, or are withdrawn at once, as after a leak."""

    pool: str
    withdraw: bool = False


class Falsify(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="falsify"):
    """The next `times` tokens (null: all) of this use (empty: of any) carry these claims: `{"aud": "another"}` say.

    A claim that is null is left out.
    """

    claims: dict[str, Any]
    token_use: str = ""
    times: int | None = 1


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The next `times` calls (null: all) of `what`: `jwks`, `discovery`, a path or an operation of the JSON API."""

    what: str
    times: int | None = 1


class Fail(Fault, frozen=True, tag_field="do", tag="fail"):
    """Answer with this status, and for an operation of the JSON API with this error."""

    status: int = 503
    error: str = "InternalErrorException"
    message: str = "It was commanded to fail."


class Stall(Fault, frozen=True, tag_field="do", tag="stall"):
    """Say nothing for so long; null: until `release`, or the caller leaves."""

    for_ms: int | None = None


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="release"):
    """End every stall that holds a call now."""


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="reset"):
    """No faults, no wrong claims, no calls. What is in the pools stays, and so do their keys."""


Command = Rotate | Falsify | Fail | Stall | Release | Reset


class Control:
    """The commands that still hold. The loop's thread uses it; another takes `twist`, which only takes from a queue."""

    def __init__(self) -> None:
        self.calls: deque[str] = deque(maxlen=_CALLS_KEPT)
        self._faults: list[Fail | Stall] = []
        self._lies: list[Falsify] = []
        self._released = asyncio.Event()

    def obey(self, command: Command) -> None:
        match command:
            case Falsify():
                self._lies.append(command)
            case Fail() | Stall():
                self._faults.append(command)
            case Reset():
                self.calls.clear()
                self._faults.clear()
                self._lies.clear()
                self._release()
            case Release():
                self._release()

    def fault(self, what: str) -> Fail | Stall | None:
        """The one that hits this call, which counts as a hit."""
        for index, each in enumerate(self._faults):
            if each.what == what:
                _used(self._faults, index)
                return each
        return None

    async def stalled(self, fault: Stall) -> None:
        released = self._released
        try:
            async with asyncio.timeout(fault.for_ms / 1_000 if fault.for_ms is not None else None):
                await released.wait()
        except TimeoutError:
            return

    def twist(self, claims: dict[str, Any]) -> dict[str, Any]:
        for index, lie in enumerate(self._lies):
            if lie.token_use in ("", claims["token_use"]):
                _used(self._lies, index)
                twisted = {**claims, **lie.claims}
                return {name: value for name, value in twisted.items() if value is not None}
        return claims

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()


def command_in(body: bytes) -> Command:
    """Raises CognitoError."""
    try:
        command: Command = msgspec.json.decode(body, type=Command)
    except msgspec.MsgspecError as error:
        raise invalid(f"Not a command: {error}") from None
    return command


def _used(queue: list[Any], index: int) -> None:
    left = queue[index].times
    if left is None:
        return
    if left <= 1:
        del queue[index]
    else:
        queue[index] = msgspec.structs.replace(queue[index], times=left - 1)
