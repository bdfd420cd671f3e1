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

from enclave.conversation import REFUSED, Conversation
from enclave.identity import Identity
from enclave.journal import Journal
from enclave.line import Line
from enclave.refusal import ProtocolBroken, Refused
from sealed.refusal import FrameRefused

MOST = 128
GREETING_S = 5.0  # for the handshake and HELLO together
DRAIN_S = 8.0


class _Guest(NamedTuple):
    tls: ssl.SSLSocket
    conversation: Conversation


class Server:
    """Serves until `stop`, which any thread and a signal's handler may call."""

    def __init__(
        self,
        listening: socket.socket,
        identity: Identity,
        converse: Callable[[], Conversation],
        journal: Journal,
        *,
        most: int = MOST,
        greeting_s: float = GREETING_S,
    ) -> None:
        self._listening = listening
        self._identity = identity
        self._converse = converse
        self._journal = journal
        self._most = most
        self._greeting_s = greeting_s
        self._stopping = False
        self._stopped, self._stop = os.pipe()
        self._lock = threading.Lock()
        self._guests: dict[threading.Thread, _Guest] = {}

    def serve(self) -> None:
        """Returns when it was stopped and what was open has ended, or DRAIN_S later."""
        self._listening.setblocking(False)
        waited_for = [self._listening.fileno(), self._stopped]
        while self._stopped not in select.select(waited_for, [], [])[0]:
            with suppress(OSError):  # whoever it was has left already
                accepted, _ = self._listening.accept()
                self._welcome(accepted)
        self._drain()

    def stop(self) -> None:
        self._stopping = True
        os.write(self._stop, b"!")

    def _welcome(self, accepted: socket.socket) -> None:
        accepted.settimeout(self._greeting_s)
        with self._lock:
            if len(self._guests) >= self._most:
                accepted.close()
                return
            guest = _Guest(self._identity.wrap(accepted), self._converse())
            thread = threading.Thread(target=self._serve_guest, args=(guest,), daemon=True)
            self._guests[thread] = guest
        thread.start()

    def _serve_guest(self, guest: _Guest) -> None:
        try:
            with guest.tls:
                self._converse_with(guest)
        except OSError:
            pass  # it has left, or keeps no deadline: its connection is closed, and that is all
        except Exception as error:
            self._journal.fault(error)
        finally:
            guest.conversation.close()
            with self._lock:
                del self._guests[threading.current_thread()]

    def _converse_with(self, guest: _Guest) -> None:
        greeted_by = time.monotonic() + self._greeting_s
        guest.tls.do_handshake()
        if not self._identity.admits(guest.tls):
            return
        line, conversation = Line(guest.tls), guest.conversation
        patience_s = greeted_by - time.monotonic()
        while _one_turn(line, conversation, patience_s):
            conversation.prepare()
            if self._stopping and not conversation.exchange_is_open:
                return
            patience_s = conversation.patience_s

    def _drain(self) -> None:
        ends = time.monotonic() + DRAIN_S
        with self._lock:
            guests = dict(self._guests)
        for guest in guests.values():
            if not guest.conversation.exchange_is_open:
                _leave(guest)
        for thread, guest in guests.items():
            thread.join(max(0.0, ends - time.monotonic()))
            _leave(guest)


def _one_turn(line: Line, conversation: Conversation, patience_s: float) -> bool:
    """A frame and its answer. False where there is to be no other."""
    try:
        received = line.receive(patience_s)
        if received is None:
            return False
        line.send(*conversation.answer(*received))
    except FrameRefused as refused:
        _refuse(line, ProtocolBroken(refused.text))
        return False
    except Refused as refused:
        _refuse(line, refused)
        return not isinstance(refused, ProtocolBroken)
    return True


def _refuse(line: Line, refused: Refused) -> None:
    line.send(REFUSED, msgspec.json.encode({"code": refused.code, "text": refused.text}))


def _leave(guest: _Guest) -> None:
    """Ends what its thread waits for. The socket's own `shutdown`, since TLS's is not for another thread."""
    with suppress(OSError):
        socket.socket.shutdown(guest.tls, socket.SHUT_RDWR)
