"""A sealed request on its way in, and its answer on its way out, as frames (docs/sealed-formats.md).

It is opened when its turn has come, not before it queues: nothing that was opened lies about while it waits, a request
that is sent away from the line was never opened and so may be sent again, and the enclave holds no more exchanges than
there are slots. The price is that a slot is held during the enclave's round trips.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec import UNSET

from sealed.frames import frame
from sealed.ticket import Claims
from serving.envelope import Preview
from serving.queue import Forecast
from serving.refusal import ContentRefused, EnclaveUnavailable, EngineFailed, EngineRefused, Malformed, Refusal
from serving.reply import Piece, Usage, without_usage
from serving.request import Attributes, Call
from serving.sealing.enclave import Enclave, Exchange, JudgedExchange
from serving.sealing.plaintext import claims_of, native_answer, permitted_call

MEDIA_TYPE = "application/vnd.cloister.sealed"
WAITING, STARTED, PIECE, FINISHED, REFUSED = range(0x11, 0x16)
MOST_COUNTED = 0xFFFF
NO_ENCLAVE = "there is no enclave behind this container; send the request to one that has one"


class SealedEnvelope:
    """Envelope of a request that only the enclave can open."""

    _enclave: Enclave
    _claims: Claims
    _attributes: Attributes
    _exchange: Exchange

    def __init__(self, behind: Enclave | None) -> None:
        self._behind = behind
        self._body = b""
        self._wants_usage = False
        self._opened = False
        self._usage = Usage()
        self._counted = False  # by the engine
        self._unsent = 0  # tokens of the piece that is being sealed

    def read(self, body: bytes, attributes: Attributes) -> Preview:
        """Raises: Malformed, EnclaveUnavailable."""
        if self._behind is None:
            raise EnclaveUnavailable(NO_ENCLAVE)
        claims = claims_of(body)
        if claims.operation != attributes.op:
            raise Malformed("the ticket is for another operation")
        self._enclave, self._body, self._claims, self._attributes = self._behind, body, claims, attributes
        return Preview(claims.pool, claims.stream, claims.mode)

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Call]:
        """Raises: NotOpened, TooLarge, EnclaveUnavailable, Malformed, ContentRefused."""
        form = Exchange if self._claims.rules_sha256 is UNSET else JudgedExchange
        async with self._enclave.exchange(form) as exchange:
            self._exchange = exchange
            try:
                yield await self._open(model)
            except EngineRefused as error:
                # Its words may quote the request.
                if error.status < 500:
                    raise Malformed(
                        "the opened request was refused by the model; check its parameters against what the model takes"
                    ) from None
                raise EngineFailed("the model failed") from None

    async def _open(self, model: str) -> Call:
        plaintext = await self._exchange.begin(self._body)
        self._body = b""
        self._opened = True
        permitted = permitted_call(plaintext, self._claims, self._attributes, model)
        self._wants_usage = permitted.wants_usage
        return permitted.call

    def media_type(self, _inside: str) -> str:
        return MEDIA_TYPE

    def waiting(self, forecast: Forecast) -> bytes:
        return _json_frame(WAITING, queue_position=forecast.position, predicted_start_ms=forecast.start_in_ms)

    def started(self, queue_ms: int) -> bytes:
        return _json_frame(STARTED, queue_ms=queue_ms)

    async def piece(self, piece: Piece) -> bytes:
        """Raises: AnswerTooLarge, EnclaveUnavailable, ContentRefused."""
        usage = self._usage
        tokens = usage.completion_tokens + piece.tokens
        self._usage = piece.usage or Usage(usage.prompt_tokens, tokens, usage.prompt_tokens + tokens)
        self._counted = self._counted or piece.usage is not None
        self._unsent = piece.tokens
        data = without_usage(piece.data) if piece.usage and not self._wants_usage else piece.data
        if not data:
            return b""
        sealed = await self._piece_frame(data, piece.tokens, final=piece.last)
        return sealed + self._finished_frame() if piece.last else sealed

    async def whole(self, body: bytes, usage: Usage, queue_ms: int) -> bytes:
        """Raises: AnswerTooLarge, EnclaveUnavailable, EngineFailed."""
        self._usage, self._counted = usage, True
        data = native_answer(body, usage, self._claims) if self._claims.surface == "native" else body
        try:
            sealed = await self._piece_frame(data, usage.completion_tokens, final=True)
        except ContentRefused as refusal:
            return self.started(queue_ms) + self.refused(refusal)  # a status could not say what it is charged
        return self.started(queue_ms) + sealed + self._finished_frame()

    def refused(self, refusal: Refusal) -> bytes:
        said: dict[str, int | str] = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
        if not isinstance(refusal, ContentRefused):
            return _json_frame(REFUSED, **said)
        rest = _piece(refusal.sealed, self._unsent) if refusal.sealed else b""
        # For a refused request nothing was generated. Of a stream that is cut its engine has told no count yet.
        counts = self._counts() if self._counted or not self._opened else {}
        return rest + _json_frame(REFUSED, **said, **counts)

    async def _piece_frame(self, data: bytes, tokens: int, *, final: bool) -> bytes:
        return _piece(await self._exchange.seal(data, final=final), tokens)

    def _finished_frame(self) -> bytes:
        return _json_frame(FINISHED, **self._counts(), **({"found": True} if self._exchange.found else {}))

    def _counts(self) -> dict[str, int]:
        return {"prompt_tokens": self._usage.prompt_tokens, "completion_tokens": self._usage.completion_tokens}


def _piece(sealed: bytes, tokens: int) -> bytes:
    return frame(PIECE, min(tokens, MOST_COUNTED).to_bytes(2) + sealed)


def _json_frame(kind: int, **facts: int | str) -> bytes:
    return frame(kind, msgspec.json.encode(facts))
