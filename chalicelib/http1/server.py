"""A server, and the connections that are kept to it."""

import time

import msgspec

from chalicelib.http1.answer import Answer
from chalicelib.http1.connection import Connection
from chalicelib.http1.failure import BrokeOff, Failed
from chalicelib.http1.place import Place
from chalicelib.http1.trust import Trust

CONNECTIONS = 64  # kept at most; as many are opened as there are callers
LOOK_S = 0.1  # between two looks at one that rests under others


class Patience(msgspec.Struct, frozen=True):
    connect_s: float  # to be connected; TLS may take as long once more
    silence_s: float  # until the head of an answer is there, and between two pieces of its body
    until_s: float | None = None  # by `time.monotonic`: when the head is to be there, whatever else had to be done

    def left(self) -> "Patience":
        """What is left of it now. Who dials and speaks TLS may take half of it for each."""
        if self.until_s is None:
            return self
        left_s = max(self.until_s - time.monotonic(), 0.001)
        return Patience(min(self.connect_s, left_s / 2), min(self.silence_s, left_s), self.until_s)


class Server:
    """Thread-safe. Nothing is opened before the first request."""

    def __init__(self, place: Place, patience: Patience, trust: Trust, sound_s: float = 0.0) -> None:
        """`sound_s`: so long after an answer a connection is taken to be sound without a look at it. Only where the
        server says nothing that nobody asked: that would pass for the next answer."""
        self.place = place
        self._patience = patience
        self._trust = trust
        self._sound_s = sound_s
        self._kept: list[Connection] = []  # the one used last comes first; append and pop are atomic

    def ask(self, head: bytes, body: bytes = b"", patience: Patience | None = None) -> Answer:
        """Send a request; its answer as soon as its head is there. `head`: see message.head. Raises Failed.

        A request may reach the server twice: a kept connection can be hung up in the very instant in which it is used.
        Where not one byte of an answer has come, it is asked once more, on a fresh one.
        """
        patience = patience or self._patience
        kept = self._fresh()
        if kept is not None:
            try:
                return self._asked(kept, head, body, patience)
            except BrokeOff:
                if not kept.answer.untouched:
                    raise
                # What died idle has company: a sandbox that thaws finds all of them dead.
                self.forget()
        return self._asked(self._dialled(patience), head, body, patience)

    def ask_once(self, head: bytes, body: bytes = b"") -> Answer:
        """The same, but never twice: for who counts, and asks again by other rules."""
        return self._asked(self._fresh() or self._dialled(self._patience), head, body, self._patience)

    def forget(self) -> None:
        """Close what is kept."""
        while self._kept:
            try:
                self._kept.pop().close()
            except IndexError:  # another thread was faster
                return

    def _asked(self, connection: Connection, head: bytes, body: bytes, patience: Patience) -> Answer:
        patience = patience.left()
        try:
            connection.wait_at_most(patience.silence_s)
            return Answer(connection.ask(head, body), connection, patience.silence_s, self._keep)
        except Failed:
            connection.close()
            raise

    def _dialled(self, patience: Patience) -> Connection:
        return Connection(self.place, self._trust, patience.left().connect_s)

    def _fresh(self) -> Connection | None:
        while True:
            try:
                connection = self._kept.pop()
            except IndexError:
                return None
            if time.monotonic() - connection.kept_s < self._sound_s or not connection.stale:
                return connection
            connection.close()

    def _keep(self, connection: Connection) -> None:
        connection.kept_s = time.monotonic()
        self._look_at_the_oldest(connection.kept_s)
        if len(self._kept) < CONNECTIONS:
            self._kept.append(connection)
        else:
            connection.close()

    def _look_at_the_oldest(self, now_s: float) -> None:
        """What rests under others is not taken for long: where the other side has hung up, nobody would notice."""
        try:
            oldest = self._kept[0]
            if now_s - oldest.looked_s < LOOK_S:
                return
            oldest = self._kept.pop(0)
        except IndexError:
            return
        oldest.looked_s = now_s
        if oldest.stale:
            oldest.close()
        else:
            self._kept.insert(0, oldest)
