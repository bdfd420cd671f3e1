"""A request whose tenant has rules: judged once it is opened, and its answer before it is sealed.

Loaded with the first ticket that names rules. Ahead of each payload there are flags then: that something was found,
told with the request and with what ends the answer; and that a rule refused, which ends the exchange. Never what was
found, where, or by which rule. Each answer says inside its seal which rules it was judged by: they are what the gateway
says they are, and who knows the right ones can see it.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from enclave.exchanges import Exchange
from enclave.refusal import AnswerTooLarge, NotOpened, ProtocolBroken, TooLarge
from guard import SentRules, Tools, compiled
from guard.automaton import Unfit
from guard.bodies import UNWRITTEN, Judge, NotAllowed, NotUnderstood, prompts, wholes
from guard.bodies.chunks import Chunks
from guard.judge import Guard
from guard.syntax import Misread
from guard.tools import Globs
from sealed.ticket import Claims

FOUND, REFUSED = 1, 2
MOST_BYTES = 7 * 2**20  # of what is told or sealed at once: redacting makes texts longer, and a frame holds 8 MiB
DONE = b"[DONE]"
NONCE = "nonce"  # of a request, for its answer's echo: no prompt
JUDGED_BY = "rules_sha256"  # a member of whole answers, and in a stream's first comment


class JudgingRules:
    """The rules that go with one ticket, ready to judge by."""

    def __init__(self, written: bytes) -> None:
        """Raises NotOpened for what is no rule set, or none of those that this program knows."""
        try:
            sent = SentRules.read(written)
            self.guard: Guard = compiled(sent.rules)
            self.key_tools = Globs(Tools(allowed=sent.key_tools)) if sent.key_tools else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Misread, Unfit, KeyError) as error:
            raise NotOpened("rules") from error


class JudgedExchange:
    """An Exchange under rules, from its opened request on. Used by one thread."""

    def __init__(self, exchange: Exchange, rules: JudgingRules, claims: Claims) -> None:
        self.refused = False
        self._exchange = exchange
        self._claims = claims
        self._request = Judge(rules.guard, "in", rules.key_tools)
        self._answer = Judge(rules.guard, "out", rules.key_tools)
        streams = claims.stream and claims.operation not in UNWRITTEN
        self._chunks = Chunks(claims.operation, self._answer) if streams else None
        self._comment = f": {JUDGED_BY}={claims.rules_sha256}\n\n".encode() if claims.stream else b""

    def open(self, plaintext: bytes) -> bytes:
        """Flags, and the request as it may go on; of one that is refused what its stream tells, sealed. Raises Refusal.

        Where no stream was asked for nothing is sealed: the refusal is no answer then, but an error.
        """
        try:
            judged = _judged(plaintext, self._request)
        except NotAllowed as refused:
            self.refused = True
            told = self._comment + _event(self._error(refused))
            sealed = self._exchange.seal(told, final=True) if self._claims.stream else b""
            return self._flagged(sealed, found=True)
        if len(judged) > MOST_BYTES:
            raise TooLarge("The request is too large once its tenant's rules have changed it.")
        return self._flagged(judged, found=bool(self._request.findings))

    def prepare(self) -> None:
        """See Exchange."""
        self._exchange.prepare()

    def seal(self, piece: bytes, *, final: bool) -> bytes:
        """Flags, and sealed bytes for the client, perhaps none yet. Raises Refusal."""
        try:
            said = self._whole(piece, final=final) if self._chunks is None else self._events(self._chunks, piece, final)
        except NotAllowed:  # of a whole answer
            self.refused = True
            return self._flagged(b"", found=True)
        except NotUnderstood:
            raise ProtocolBroken("An answer is a JSON object, or a stream of them.") from None
        if len(said) > MOST_BYTES:
            raise AnswerTooLarge
        ends = final or self.refused
        sealed = self._exchange.seal(said, final=ends)
        return self._flagged(sealed, found=ends and self._found())

    def _found(self) -> bool:
        """Anything so far."""
        answered = self._answer.findings if self._chunks is None else self._chunks.findings()
        return self.refused or bool(self._request.findings or answered)

    def _flagged(self, payload: bytes, *, found: bool) -> bytes:
        return bytes([FOUND * found | REFUSED * self.refused]) + payload

    def _whole(self, piece: bytes, *, final: bool) -> bytes:
        if not final:
            raise ProtocolBroken("An answer that is judged as a whole is sealed in one piece.")
        if self._claims.operation not in UNWRITTEN:
            piece = wholes.judged(piece, self._answer)
        try:
            members = msgspec.json.decode(piece, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NotUnderstood from None
        return msgspec.json.encode({**members, JUDGED_BY: self._claims.rules_sha256})

    def _events(self, chunks: Chunks, piece: bytes, final: bool) -> bytes:
        said, self._comment = [self._comment], b""
        try:
            for data in _data(piece):
                said += map(_event, [*chunks.finish(), data] if data == DONE else chunks.read(data))
            if final:
                said += map(_event, chunks.finish())
        except NotAllowed as refused:
            self.refused = True
            said += map(_event, (*refused.ending, self._error(refused)))
        return b"".join(said)

    def _error(self, refused: NotAllowed) -> bytes:
        """As OpenAI's SDKs read it, at the end of a stream."""
        error: dict[str, Any] = {"message": refused.text, "type": "invalid_request_error", "code": "content_refused"}
        return msgspec.json.encode({"error": {**error, "param": None, "request_id": self._claims.request_id}})


def _judged(plaintext: bytes, judge: Judge) -> bytes:
    """The request as it may go on: written anew, so that nobody reads another one in it. Raises NotAllowed.

    What cannot be read goes on as nothing, which whoever gets it refuses as no request.
    """
    try:
        fields = msgspec.json.decode(plaintext, type=dict[str, msgspec.Raw])
        asked = {name: value for name, value in fields.items() if name != NONCE}
        said = prompts.judged(asked, judge)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""
    return msgspec.json.encode({**said, NONCE: fields[NONCE]} if NONCE in fields else said)


def _data(piece: bytes) -> Iterator[bytes]:
    """What the events say. Their comments, and whatever else they have, are for nobody who gets the answer."""
    for event in piece.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data)


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
