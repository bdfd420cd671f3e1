"""One thread and one TLS connection per container: the cheapest shape for small frames that strictly alternate.

Every read and write has a deadline, so a slow or broken peer costs nobody but itself anything. Beyond MOST
connections a new one is closed at once.
"""

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from enclave.connection import Connection
from enclave.conversation import REFUSED, Conversation
from enclave.identity import Identity
from enclave.journal import Journal
from enclave.refusal import ProtocolBroken, Refusal
from sealed.refusal import FrameRefused

MOST = 128
GREETING_S = 5.0  # for the handshake and HELLO together
DRAIN_S = 8.0


class _Session(NamedTuple):
    tls: ssl.SSLSocket
    conversation: Conversation


class Server:
    """Serves until `stop`, which any thread and a signal's handler may call."""

    def __init__(
        self,
        listener: socket.socket,
        identity: Identity,
        new_conversation: Callable[[], Conversation],
        journal: Journal,
        *,
        most: int = MOST,
        greeting_s: float = GREETING_S,
    ) -> None:
        self._listener = listener
        self._identity = identity
        self._new_conversation = new_conversation
        self._journal = journal
        self._most = most
        self._greeting_s = greeting_s
        self._stopping = False
        self._stop_read, self._stop_write = os.pipe()
        self._lock = threading.Lock()
        self._sessions: dict[threading.Thread, _Session] = {}

    def serve(self) -> None:
        """Returns when it was stopped and what was open has ended, or DRAIN_S later."""
        self._listener.setblocking(False)
        waited_for = [self._listener.fileno(), self._stop_read]
        while self._stop_read not in select.select(waited_for, [], [])[0]:
            with suppress(OSError):  # whoever it was has left already
                accepted, _ = self._listener.accept()
                self._accept(accepted)
        self._drain()

    def stop(self) -> None:
        self._stopping = True
        os.write(self._stop_write, b"!")

    def _accept(self, accepted: socket.socket) -> None:
        accepted.settimeout(self._greeting_s)
        with self._lock:
            if len(self._sessions) >= self._most:
                accepted.close()
                return
            session = _Session(self._identity.wrap(accepted), self._new_conversation())
            thread = threading.Thread(target=self._serve_session, args=(session,), daemon=True)
            self._sessions[thread] = session
        thread.start()

    def _serve_session(self, session: _Session) -> None:
        try:
            with session.tls:
                self._converse_over(session)
        except OSError:
            pass  # it has left, or keeps no deadline: its connection is closed, and that is all
        except Exception as error:
            self._journal.fault(error)
        finally:
            session.conversation.close()
            with self._lock:
                del self._sessions[threading.current_thread()]

    def _converse_over(self, session: _Session) -> None:
        greeted_by = time.monotonic() + self._greeting_s
        session.tls.do_handshake()
        if not self._identity.admits(session.tls):
            return
        connection, conversation = Connection(session.tls), session.conversation
        patience_s = greeted_by - time.monotonic()
        while _one_turn(connection, conversation, patience_s):
            conversation.prepare()
            if self._stopping and not conversation.exchange_is_open:
                return
            patience_s = conversation.patience_s

    def _drain(self) -> None:
        ends = time.monotonic() + DRAIN_S
        with self._lock:
            sessions = dict(self._sessions)
        for session in sessions.values():
            if not session.conversation.exchange_is_open:
                _shut_down(session)
        for thread, session in sessions.items():
            thread.join(max(0.0, ends - time.monotonic()))
            _shut_down(session)


def _one_turn(connection: Connection, conversation: Conversation, patience_s: float) -> bool:
    """A frame and its answer. False where there is to be no other."""
    try:
        received = connection.receive(patience_s)
        if received is None:
            return False
        connection.send(*conversation.answer(*received))
    except FrameRefused as error:
        _refuse(connection, ProtocolBroken(error.text))
        return False
    except Refusal as refusal:
        _refuse(connection, refusal)
        return not isinstance(refusal, ProtocolBroken)
    return True


def _refuse(connection: Connection, refusal: Refusal) -> None:
    connection.send(REFUSED, msgspec.json.encode({"code": refusal.code, "text": refusal.text}))


def _shut_down(session: _Session) -> None:
    """Ends what its thread waits for. The socket's own `shutdown`, since TLS's is not for another thread."""
    with suppress(OSError):
        socket.socket.shutdown(session.tls, socket.SHUT_RDWR)
