"""Which trace a request belongs to, as its headers say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.sight.trace import ENTROPY, trace_of

NOW_MS = 1_764_451_200_123
CHANCE = bytes(range(ENTROPY))
OURS = CHANCE[:8].hex()
A, B, SPAN = "692b4a80" + "a" * 24, "692b4a81" + "b" * 24, "c" * 16
ROOT = f"Root=1-{A[:8]}-{A[8:]}"


@pytest.mark.parametrize(
    ("headers", "trace_id", "parent_id", "sampled"),
    [
        ({"traceparent": f"00-{B}-{SPAN}-01"}, B, SPAN, True),
        ({"traceparent": f"00-{B}-{SPAN}-00"}, B, SPAN, False),
        ({"x-amzn-trace-id": f"{ROOT};Parent={SPAN};Sampled=1"}, A, SPAN, True),
        ({"x-amzn-trace-id": f"Self=1-1-1;{ROOT};Parent={SPAN};Sampled=0;Lineage=1:2"}, A, SPAN, False),
        ({"x-amzn-trace-id": f"{ROOT};Parent={SPAN};Sampled=1", "traceparent": f"00-{B}-{SPAN}-00"}, A, SPAN, True),
        ({"x-amzn-trace-id": ROOT, "traceparent": f"00-{B}-{SPAN}-01"}, B, SPAN, True),
        ({"x-amzn-trace-id": f"{ROOT};Sampled=1"}, A, "", True),
    ],
    ids=["W3C", "W3C, not kept", "AWS", "AWS, and more", "AWS traces", "AWS balances", "AWS alone"],
)
def test_a_request_stays_in_the_trace_that_it_brings(
    headers: dict[str, str], trace_id: str, parent_id: str, sampled: bool
) -> None:
    trace = trace_of(headers, NOW_MS, CHANCE, 100)
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (trace_id, parent_id, sampled)
    assert trace.span_id == OURS


@pytest.mark.parametrize(
    "traceparent",
    [
        f"00-{'0' * 32}-{SPAN}-01", f"00-{B}-{'0' * 16}-01", f"00-{B.upper()}-{SPAN}-01", f"00-{B}-{SPAN}-01\n",
        f"ff-{B}-{SPAN}-01", "nonsense", "",
    ],
)  # fmt: skip
def test_what_is_no_trace_begins_one(traceparent: str) -> None:
    trace = trace_of({"traceparent": traceparent}, NOW_MS, CHANCE, 0)
    assert trace.trace_id == f"{NOW_MS // 1_000:08x}" + CHANCE[8:].hex()  # as X-Ray's begin: the second
    assert (trace.parent_id, trace.sampled) == ("", False)


@given(st.dictionaries(st.sampled_from(("traceparent", "x-amzn-trace-id")), st.text(max_size=300)))
def test_whatever_comes_ids_are_plain(headers: dict[str, str]) -> None:
    trace = trace_of(headers, NOW_MS, CHANCE, 50)
    assert len(trace.trace_id) == 32
    assert int(trace.trace_id, 16) > 0
    assert trace_of({"traceparent": trace.traceparent}, NOW_MS, CHANCE, 0).trace_id == trace.trace_id
    assert trace_of({"x-amzn-trace-id": trace.amazons}, NOW_MS, CHANCE, 0).parent_id == trace.span_id


def test_of_traces_of_our_own_so_many_are_kept() -> None:
    kept = sum(trace_of({}, NOW_MS, b"\0" * 19 + bytes([last]), 25).sampled for last in range(200))
    assert kept == 50
    assert not trace_of({}, NOW_MS, CHANCE, 0).sampled
