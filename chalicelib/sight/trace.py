"""Which trace a request belongs to. Pure.

Two ways to say it: `traceparent` (W3C Trace Context, level 1) and `X-Amzn-Trace-Id`
(https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader). Their ids are the
same, written differently: X-Ray's begin with the second in which the trace began.
"""

import re
from collections.abc import Mapping

import msgspec

ENTROPY = 20
"""Bytes of chance that a trace of our own takes."""

_W3C = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_AMAZONS_ROOT = re.compile(r"(?:^|;) *Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;|$)")
_AMAZONS_PARENT = re.compile(r"(?:^|;) *Parent=([0-9a-f]{16})(?:;|$)")
_LONGEST = 256  # of a header that is looked at; a real one has a hundred characters
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Trace(msgspec.Struct, frozen=True):
    """A request's place in a trace."""

    trace_id: str  # 32 hexadecimal digits
    span_id: str  # the request's own, 16 digits; who is asked on its behalf is told this one
    parent_id: str = ""  # of who called us
    sampled: bool = False  # whether its spans are kept

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02d}"

    @property
    def amazons(self) -> str:
        """As `X-Amzn-Trace-Id`."""
        return f"Root={self.amazons_id};Parent={self.span_id};Sampled={self.sampled:d}"

    @property
    def amazons_id(self) -> str:
        return f"1-{self.trace_id[:8]}-{self.trace_id[8:]}"


UNTRACED = Trace("", "")
"""Of what no request asked for."""


def trace_of(headers: Mapping[str, str], now_ms: int, entropy: bytes, percent: int) -> Trace:
    """The trace that the request's headers (names in lower case) name; else one of our own.

    AWS names a parent where it traces, and then nobody else is heard: it stands between the caller and us. Where it
    only names a root, as its balancers do, the caller's word goes before it. `percent`: of requests of which nobody
    before us has said whether they are kept.
    """
    span_id = entropy[:8].hex()
    amazons, theirs = headers.get("x-amzn-trace-id", "")[:_LONGEST], headers.get("traceparent", "")
    root = _AMAZONS_ROOT.search(amazons) if amazons else None
    if root is not None and (parent := _AMAZONS_PARENT.search(amazons)) is not None:
        return _joined(root[1] + root[2], span_id, parent[1], _said_by_amazon(amazons), percent)
    w3c = _W3C.fullmatch(theirs) if theirs else None
    if w3c is not None and w3c[1] != _NO_TRACE and w3c[2] != _NO_SPAN:
        return _joined(w3c[1], span_id, w3c[2], bool(int(w3c[3], 16) & 1), percent)
    if root is not None:
        return _joined(root[1] + root[2], span_id, "", _said_by_amazon(amazons), percent)
    return _joined(f"{now_ms // 1_000 & 0xFFFFFFFF:08x}{entropy[8:20].hex()}", span_id, "", None, percent)


def _joined(trace_id: str, span_id: str, parent_id: str, said: bool | None, percent: int) -> Trace:
    # By its last digits, so that all who decide alone decide alike.
    sampled = percent > 0 and int(trace_id[24:], 16) % 100 < percent if said is None else said
    return Trace(trace_id, span_id, parent_id, sampled)


def _said_by_amazon(header: str) -> bool | None:
    if "Sampled=1" in header:
        return True
    return False if "Sampled=0" in header else None
