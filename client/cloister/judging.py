"""By which rules an answer was judged, as the enclave says inside its seal, beside those that the caller expects.

Rules of what may be said lie with the gateway, which sends them along. So whoever would not have it choose them looks.
"""

import re
from collections.abc import Iterator

import msgspec

from cloister.refusal import NotConfigured, OtherRules

COMMENT = b": rules_sha256="  # the first of a stream
_HASH = re.compile(r"[0-9a-f]{64}")


class _Answer(msgspec.Struct):
    rules_sha256: str = ""


def expected(rules_sha256: str | None) -> str | None:
    """As it was given. Raises: NotConfigured."""
    if rules_sha256 and not _HASH.fullmatch(rules_sha256):
        raise NotConfigured(
            'rules_sha256 is 64 lower-case hex digits (`python -m guard RULES.json` prints them), or "" for no rules.'
        )
    return rules_sha256


def whole(pieces: Iterator[bytes], rules_sha256: str) -> Iterator[bytes]:
    """The answer, at once, if these rules judged it; empty: if none did. Raises: OtherRules."""
    answer = b"".join(pieces)
    try:
        said = msgspec.json.decode(answer, type=_Answer).rules_sha256
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OtherRules from None
    if said != rules_sha256:
        raise OtherRules
    yield answer


def stream(pieces: Iterator[bytes], rules_sha256: str) -> Iterator[bytes]:
    """The stream, likewise: nothing of it ahead of its first line. Raises: OtherRules."""
    line = COMMENT + rules_sha256.encode() + b"\n\n" if rules_sha256 else COMMENT
    begin = b""
    for piece in pieces:
        begin += piece
        if len(begin) >= len(line):
            break
    if begin.startswith(line) != bool(rules_sha256):
        raise OtherRules
    yield begin
    yield from pieces
