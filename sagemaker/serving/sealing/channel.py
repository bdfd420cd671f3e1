"""One connection to an enclave that has proved what it is. Questions and answers alternate strictly.

TLS 1.3 keeps it secret and shows our certificate; that the other end of exactly this TLS session is an enclave we
trust is said by the attestation document, whose `user_data` is the hash of the certificate that end has used.
"""

import asyncio
import hashlib
import os
import socket
from collections.abc import Callable
from types import MappingProxyType

import msgspec

from sealed import attestation
from sealed.frames import Reader, frame
from sealed.refusal import DocumentRefused, FrameRefused, SealedError
from serving import journal
from serving.refusal import AnswerTooLarge, EnclaveUnavailable, NotOpened, Refusal, TooLarge
from serving.sealing.peer import Address, Peer

HELLO, OPEN, SEAL, DROP, ASK = range(0x01, 0x06)
ANSWER = 0x80  # is added to the question's type
REFUSED = 0xFF

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 12.0  # KMS may be asked meanwhile
KEPT_IDLE_S = 300.0  # half of what the enclave allows, so that it is never the enclave who closes first
NONCE_BYTES = 32
READ_BYTES = 64 * 1024

UNAVAILABLE = "no enclave is there to open or seal this request; send it again later"
_REFUSALS: MappingProxyType[str, Callable[[], Refusal]] = MappingProxyType(
    {
        "not_opened": lambda: NotOpened("the sealed request cannot be opened"),
        "too_large": lambda: TooLarge("the sealed request is too large"),
        "answer_too_large": lambda: AnswerTooLarge("the answer is too large for this mode"),
    }
)


class RefusalFrame(msgspec.Struct, frozen=True):
    code: str


class Channel:
    """Belongs to one caller at a time, and to one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Reader()
        self._awaiting_answer = False  # a question is out: until its answer is here, nothing else may be asked
        self._awaiting_drop = False  # the answer to DROP is still to be read
        self._idle_since = 0.0

    async def prove(self, peer: Peer, now_ms: int) -> None:
        """The first question: that an enclave which is allowed holds the other end of this very TLS session.

        Raises: DocumentRefused, OSError, FrameRefused.
        """
        certificate = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        nonce = os.urandom(NONCE_BYTES)
        kind, document = await self._round_trip(HELLO, nonce)
        if kind != HELLO | ANSWER:
            raise DocumentRefused("The enclave has no document to show.")
        said = attestation.verify(document, root=peer.root, now_ms=now_ms)
        bound = hashlib.sha256(certificate).digest()
        attestation.check(said, nonce=nonce, allowed=peer.allowed, user_data=bound)

    async def ask(self, kind: int, payload: bytes) -> bytes:
        """The payload of the answer. Raises: NotOpened, TooLarge, AnswerTooLarge, EnclaveUnavailable."""
        try:
            answer, content = await self._round_trip(kind, payload)
        except (OSError, FrameRefused):
            raise EnclaveUnavailable(UNAVAILABLE) from None
        if answer == REFUSED:
            raise _refusal(content)
        return content

    def drop(self) -> None:
        """Have the enclave forget the open exchange. Says so without waiting, for callers who are being cancelled."""
        if not self._awaiting_answer:
            self._writer.write(frame(DROP, b""))
            self._awaiting_drop = True

    def rest(self) -> bool:
        """Whether it may be kept for another caller."""
        self._idle_since = asyncio.get_running_loop().time()
        return not self._awaiting_answer and not self._writer.is_closing()

    async def ready(self) -> bool:
        """Whether it may be used again, after it has rested."""
        if asyncio.get_running_loop().time() - self._idle_since > KEPT_IDLE_S or self._reader.at_eof():
            return False
        if self._awaiting_drop:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    self._awaiting_drop = await self._answer() != (DROP | ANSWER, b"")
            except (OSError, FrameRefused):
                return False
        return not self._awaiting_drop

    def close(self) -> None:
        self._writer.transport.abort()

    async def _round_trip(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """Raises: OSError (a TimeoutError and what TLS complains of are some), FrameRefused."""
        self._awaiting_answer = True
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            self._writer.write(frame(kind, payload))
            await self._writer.drain()
            answer, content = await self._answer()
        if answer not in (kind | ANSWER, REFUSED):
            raise FrameRefused("The enclave answers what was not asked.")
        self._awaiting_answer = False
        return answer, content

    async def _answer(self) -> tuple[int, bytes]:
        """Raises: OSError, FrameRefused."""
        while data := await self._reader.read(READ_BYTES):
            for answer in self._frames.feed(data):
                if self._frames.pending:
                    raise FrameRefused("The enclave speaks without being asked.")
                return answer
        raise ConnectionResetError("the enclave closed the connection")


async def connect(peer: Peer, now_ms: Callable[[], int]) -> Channel:
    """A connection to an enclave that has proved what it is. `now_ms` is the wall clock.

    Raises: EnclaveUnavailable; why is written to the journal, for it is the operator who must know.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            channel = Channel(*await _open_connection(peer))
            try:
                await channel.prove(peer, now_ms())
            except BaseException:
                channel.close()
                raise
            return channel
    except OSError as error:
        journal.event("enclave_unreachable", error=type(error).__name__)
    except SealedError as error:
        journal.event("enclave_refused", reason=error.text)
    raise EnclaveUnavailable(UNAVAILABLE)


async def _open_connection(peer: Peer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises: OSError."""
    address = peer.address
    if address.kind == "unix":
        return await asyncio.open_unix_connection(address.host, ssl=peer.tls, server_hostname="")
    if address.kind == "tcp":
        return await asyncio.open_connection(address.host, address.port, ssl=peer.tls, server_hostname="")
    return await asyncio.open_connection(sock=await _vsock(address), ssl=peer.tls, server_hostname="")


async def _vsock(address: Address) -> socket.socket:
    """Raises: OSError."""
    wire = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    wire.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(wire, (int(address.host), address.port))
    except BaseException:
        wire.close()
        raise
    return wire


def _refusal(content: bytes) -> Refusal:
    """The words are ours: an enclave's are never passed on."""
    try:
        code = msgspec.json.decode(content, type=RefusalFrame).code
    except msgspec.DecodeError:
        code = ""
    made = _REFUSALS.get(code)
    return made() if made else EnclaveUnavailable(UNAVAILABLE)
