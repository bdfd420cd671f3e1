"""A target behind a real socket that does what a test says. Its answer is always `Hello there`, from 7 tokens to 2."""

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from chalicelib.call import MESSAGES, Call, Operation, Usage
from chalicelib.dialects.sealed import MEDIA_TYPE
from chalicelib.engines import Engine
from chalicelib.pool import Capacity, Target
from chalicelib.settings import Settings
from emulators.sockets import reserve, url
from tests.engines import messages, responses
from tests.engines.answers import chat
from tests.engines.openai_server import IMPATIENT, NEVER_IDLE
from tests.engines.servers import Request, Server, Wire, head
from tests.patience import PATIENCE_S

USAGE = Usage(7, 2)
CEILING = 16  # of every call

Deed = Literal[
    "answer",
    "find malformed",
    "find too large",
    "be full",
    "break off",  # before anything of the answer
    "break off midway",
    "end midway",  # as if the answer were complete
    "be silent",
    "be silent midway",
    "drip",  # a byte now and then, for ever
]

What = Operation | Literal["probe", "enclave"]


class Heard(NamedTuple):
    """A request as the target has it."""

    what: What
    stream: bool = False
    ceilings: tuple[int, ...] = ()  # every number of tokens to generate that it names, wherever


UNREADABLE = Heard("enclave")
"""What only an enclave could read."""


_CEILING = re.compile(r"max_?(new_|completion_|gen_)?(tokens?|len)(count)?|n_predict|n_cmpl", re.IGNORECASE)


def ceilings(body: object) -> tuple[int, ...]:
    """Every number of tokens that a body names, by whatever name, at whatever depth."""
    if isinstance(body, list):
        return tuple(count for each in body for count in ceilings(each))
    if not isinstance(body, dict):
        return ()
    own = [value for name, value in body.items() if _CEILING.fullmatch(name)]
    return (*own, *(count for value in body.values() for count in ceilings(value)))


def call_of(operation: Operation, stream: bool, fields: Mapping[str, object]) -> Call:
    asks: Callable[..., Call] = messages.asked if operation in MESSAGES else chat
    if operation == "responses":
        asks = responses.asked
    call = asks(operation=operation, stream=stream)
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    return msgspec.structs.replace(call, fields={**call.fields, **raw})


class Pieces(NamedTuple):
    """An answer on the wire. What is whole has no head and no end of its own."""

    head: bytes
    begun: bytes  # up to and with the first token
    rest: bytes
    end: bytes


class Wired(ABC):
    """A target behind a real socket."""

    kind: ClassVar[type[Target]]
    understood: ClassVar[frozenset[What]] = frozenset(("chat.completions", "completions", "embeddings", "probe"))

    def __init__(self) -> None:
        self.deed: Deed = "answer"
        self.heard: list[Heard] = []  # the calls that reached it
        self._left = threading.Event()
        self._server = Server(self._serve)
        self.target = self._target_at(self._server.root)
        self.secrets = self._secrets()  # where it is; its errors quote them
        self.capacity = Capacity(4, 1, 2, "i-9")  # as it says of itself
        self.engine = self._engine_at(self._server.root, NEVER_IDLE)
        self.impatient = self._engine_at(self._server.root, IMPATIENT)  # waits only a moment for one that is silent
        self._nobody = reserve()
        nowhere = url(self._nobody)
        self.gone = (self._engine_at(nowhere, NEVER_IDLE), self._target_at(nowhere))

    def reset(self) -> None:
        self.deed = "answer"
        self.heard.clear()
        self._left.clear()

    def call(self, operation: Operation, *, stream: bool = False, fields: Mapping[str, object] = {}) -> Call:
        """One that the target can understand."""
        return call_of(operation, stream, fields)

    def was_left(self) -> bool:
        """Whether the engine stopped the generation, waiting for it."""
        return self._left.wait(PATIENCE_S)

    def close(self) -> None:
        self._server.close()
        self._nobody.close()

    @abstractmethod
    def _target_at(self, root: str) -> Target: ...

    @abstractmethod
    def _secrets(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _engine_at(self, root: str, settings: Settings) -> Engine[Any]: ...

    @abstractmethod
    def _heard(self, request: Request) -> Heard:
        """What a request in the clear asks."""

    @abstractmethod
    def _whole(self, what: What) -> bytes:
        """The answer to a call that is no stream."""

    @abstractmethod
    def _stream(self, what: What) -> Pieces: ...

    @abstractmethod
    def _refusal(self, status: int, code: str, complaint: str) -> bytes:
        """As it refuses a call with this status of HTTP."""

    def _serve(self, request: Request, wire: Wire) -> None:
        heard = UNREADABLE if request.headers.get("content-type") == MEDIA_TYPE else self._heard(request)
        if heard.what not in ("probe", "enclave"):
            self.heard.append(heard)
        complaint = " and ".join(("bad seed", *self.secrets))
        answer = self._whole(heard.what)
        pieces = self._stream(heard.what) if heard.stream else Pieces(b"", answer[:-20], answer[-20:], b"")
        match self.deed:
            case "answer" if heard is UNREADABLE:
                wire.send(self._refusal(503, "enclave_unavailable", complaint))
            case "answer" if heard.what in self.understood:
                wire.send(*pieces)
            case "answer" | "find malformed":
                wire.send(self._refusal(400, "bad", complaint))
            case "find too large":
                wire.send(self._refusal(413, "too_large", complaint))
            case "be full":
                wire.send(self._refusal(503, "full", complaint))
            case "break off":
                wire.send(pieces.head)
                wire.hang_up()
            case "break off midway":
                wire.send(pieces.head, pieces.begun)
                wire.hang_up()
            case "end midway":
                wire.send(pieces.head, pieces.begun, pieces.end)
            case "be silent":
                self._await_departure(wire)
            case "be silent midway":
                wire.send(pieces.head, pieces.begun)
                self._await_departure(wire)
            case "drip":
                wire.send(head(content_type="application/json", content_length="1000000"))
                while True:
                    wire.send(b" ")
                    threading.Event().wait(0.05)

    def _await_departure(self, wire: Wire) -> None:
        if wire.await_departure():
            self._left.set()
