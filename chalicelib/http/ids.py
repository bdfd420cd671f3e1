"""What a request, and every answer to it, is known by: its id, and the trace that it belongs to."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib import wiring
from chalicelib.sight.trace import ENTROPY, Trace, trace_of

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_FRESH_ID = 12
_NAMES = ("x-request-id", "traceparent", "x-amzn-trace-id")
_LENGTHS = frozenset(map(len, _NAMES))  # most headers are none of these, and need not be spelled in lower case


class Ids(NamedTuple):
    request_id: str
    trace: Trace


def ids_of(event: Mapping[str, Any]) -> Ids:
    """The caller's `X-Request-ID` where it is a plain one, else a fresh id; and the trace that the headers name."""
    path = wiring.path()
    entropy = path.randomness(_FRESH_ID + ENTROPY)
    said = {}
    for name, value in (event.get("headers") or {}).items():
        if len(name) in _LENGTHS and (known := name.lower()) in _NAMES:
            said[known] = value or ""
    request_id = said.get("x-request-id", "")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = entropy[:_FRESH_ID].hex()
    return Ids(request_id, trace_of(said, path.clock(), entropy[_FRESH_ID:], path.settings.trace_percent))
