"""The enclave as the rest of the container sees it: something that opens, seals, and answers questions."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from serving.refusal import AnswerTooLarge, ContentRefused, EnclaveUnavailable
from serving.sealing.channel import ASK, OPEN, SEAL, UNAVAILABLE, Channel, connect
from serving.sealing.peer import Peer

MOST_QUESTIONS = 4  # at once; exchanges are bounded by the turns
MOST_WAITING = 32  # questions, whose bodies are held meanwhile
MOST_PIECE_BYTES = 4 * 2**20  # the enclave takes no more: sealed, it must still fit a frame
FINAL, NOT_FINAL = b"\x01", b"\x00"
RULE_MET, RULE_REFUSED = 1, 2  # flags


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Exchange:
    """One sealed request and its answer, over a connection that is theirs meanwhile."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.open = False
        self.found = False  # whether a rule was met

    async def begin(self, sealed: bytes) -> bytes:
        """The plaintext of a ticket with its sealed request. Raises: NotOpened, TooLarge, EnclaveUnavailable."""
        plaintext = await self._channel.ask(OPEN, sealed)
        self.open = True
        return plaintext

    async def seal(self, piece: bytes, *, final: bool) -> bytes:
        """A piece of the answer as only the tenant can read it. Raises: AnswerTooLarge, EnclaveUnavailable."""
        if len(piece) > MOST_PIECE_BYTES:
            raise AnswerTooLarge(f"the answer is larger than the {MOST_PIECE_BYTES} bytes that are sealed at once")
        sealed = await self._channel.ask(SEAL, (FINAL if final else NOT_FINAL) + piece)
        self.open = not final
        return sealed


class JudgedExchange(Exchange):
    """Of a ticket that names rules: what the enclave answers begins with flags."""

    async def begin(self, sealed: bytes) -> bytes:
        """Raises also: ContentRefused."""
        return self._allowed(await super().begin(sealed))

    async def seal(self, piece: bytes, *, final: bool) -> bytes:
        """Raises also: ContentRefused."""
        return self._allowed(await super().seal(piece, final=final))

    def _allowed(self, answer: bytes) -> bytes:
        flags, rest = answer[0], answer[1:]
        self.found = self.found or bool(flags & RULE_MET)
        if flags & RULE_REFUSED:
            self.open = False
            raise ContentRefused(rest)
        return rest


class Enclave:
    """Keeps its connections, and replaces those that broke. Belongs to one event loop."""

    def __init__(self, peer: Peer, now_ms: Callable[[], int] = wall_ms) -> None:
        self._peer = peer
        self._now_ms = now_ms
        self._idle: list[Channel] = []
        self._questions = asyncio.Semaphore(MOST_QUESTIONS)
        self._waiting = 0

    @asynccontextmanager
    async def exchange(self, form: type[Exchange] = Exchange) -> AsyncIterator[Exchange]:
        """Leaving the block makes the enclave forget what it has not finished. Raises: EnclaveUnavailable."""
        async with self._borrow() as channel:
            exchange = form(channel)
            try:
                yield exchange
            finally:
                if exchange.open:
                    channel.drop()

    async def ask(self, question: bytes) -> bytes:
        """What it answers to a ticket with its question, as JSON. Raises: NotOpened, TooLarge, EnclaveUnavailable."""
        if self._waiting >= MOST_WAITING:
            raise EnclaveUnavailable(UNAVAILABLE)
        self._waiting += 1
        try:
            async with self._questions, self._borrow() as channel:
                return await channel.ask(ASK, question)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[Channel]:
        channel = await self._idle_channel() or await connect(self._peer, self._now_ms)
        try:
            yield channel
        finally:
            if channel.rest():
                self._idle.append(channel)
            else:
                channel.close()  # an answer may be on its way: it would be taken for the next caller's

    async def _idle_channel(self) -> Channel | None:
        while self._idle:
            channel = self._idle.pop()
            ready = False
            try:
                ready = await channel.ready()
            finally:
                if not ready:
                    channel.close()
            if ready:
                return channel
        return None
