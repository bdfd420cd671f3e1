"""Guardrails of Bedrock, asked about texts. They share connections and credentials with the models there."""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from chalicelib.clock import Clock
from chalicelib.dialects.apply_guardrail import Source, Unanswered, Verdict, request, verdict
from chalicelib.engines.bedrock.access import Access
from chalicelib.engines.bedrock.failures import NO_CREDENTIALS, SILENT, Failure, failure_of
from chalicelib.http1.answer import Answer
from chalicelib.http1.failure import Failed
from chalicelib.pool import BedrockGuardrail
from chalicelib.refusal import EngineFailed

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024  # a verdict of 25,000 characters names each match


class Guardrails:
    """Thread-safe."""

    def __init__(self, access: Callable[[str, str], Access], monotonic: Clock) -> None:
        """`access`: by region and secret."""
        self._access = access
        self._monotonic = monotonic

    def apply(self, guardrail: BedrockGuardrail, source: Source, texts: Sequence[str], deadline_ms: int) -> Verdict:
        """What the guardrail says, within `deadline_ms`, whatever is repeated. Raises Unanswered."""
        until_ms = self._monotonic() + deadline_ms
        path = f"/guardrail/{quote(guardrail.arn, safe='')}/version/{guardrail.version}/apply"
        headers = {"Content-Type": "application/json"}
        try:
            access = self._access(guardrail.region, guardrail.secret)
            return verdict(self._read(access.post_by(path, headers, request(source, texts), until_ms), until_ms))
        except Failure as failure:
            raise Unanswered(failure.code) from None
        except Failed as failed:
            raise Unanswered(failure_of(failed).code) from None
        except EngineFailed as failed:
            raise Unanswered(failed.symptom or NO_CREDENTIALS) from None

    def _read(self, answer: Answer, until_ms: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            while True:
                left_ms = until_ms - self._monotonic()
                if left_ms <= 0:
                    raise Unanswered(SILENT)
                answer.wait_at_most(left_ms / 1_000)
                piece = answer.next()
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
                size += len(piece)
                if size > ANSWER_LIMIT_BYTES:
                    raise Unanswered("too long")
        finally:
            answer.close()
