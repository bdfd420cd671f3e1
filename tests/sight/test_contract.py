"""One suite for every telemetry: whichever it is, the same is counted, written and traced."""

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest

from chalicelib.sight import names
from tests.sight.facts import CHATS, NOW_MS, TRACE, facts, refusal
from tests.sight.sinks import KINDS, SERVICE, Series, Sink, sink

IN_THREE = (SERVICE, "model-a", CHATS)


@pytest.fixture(params=KINDS)
def told_by(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Sink]:
    with ExitStack() as opened:
        yield sink(request.param, opened, lambda: capsys.readouterr().out)


def test_a_request_is_counted_by_pool_and_route_and_its_kind_by_itself(told_by: Sink) -> None:
    told_by.telemetry.request(facts())
    series = {key: value for key, value in told_by.told().series.items() if not key[0].startswith("gen_ai.")}
    wanted: Series = {(name.lower(), IN_THREE): value for name, value in names.measures(facts()).items()}
    assert series == wanted | {("settled", ()): 1}


def test_counts_add_up(told_by: Sink) -> None:
    for number in range(3):
        told_by.telemetry.request(facts(request_id=f"r-{number}"))
    told_by.telemetry.request(refusal(count=40))
    told_by.telemetry.request(facts(reason="EngineTimedOut", outcome="failed"))
    series = told_by.told().series
    assert series["requestcount", IN_THREE] == 44
    assert series["tokens_out", IN_THREE] == 4 * 45
    assert series["requestlatency", IN_THREE] == 4 * 1_000
    assert (series["refusalcount", IN_THREE], series["refusalcount.ratelimited", ()]) == (40, 40)
    assert (series["errorcount", IN_THREE], series["errorcount.enginetimedout", ()]) == (1, 1)
    assert (series["settled", ()], series["refused", ()]) == (4, 40)


def test_a_request_is_one_line_that_says_whose_it_was(told_by: Sink) -> None:
    told_by.telemetry.request(facts())
    (line,) = told_by.told().lines
    wanted = names.measures(facts()) | names.kinds(facts()) | names.members(facts(), SERVICE)
    assert {name: line.get(name) for name in wanted} == wanted
    assert (line["tenant"], line["trace_id"]) == ("acme", TRACE.trace_id)


def test_a_request_that_is_traced_has_two_spans_in_the_trace_that_it_came_in(told_by: Sink) -> None:
    told_by.telemetry.request(facts())
    request, engine = sorted(told_by.told().spans, key=lambda span: span.start_ms)
    assert {request.trace_id, engine.trace_id} == {TRACE.trace_id}
    assert (request.parent_id, engine.parent_id) == (TRACE.parent_id, TRACE.span_id)
    assert (request.start_ms, request.end_ms) == (NOW_MS - 1_000, NOW_MS)
    assert (engine.name, engine.start_ms, engine.end_ms) == ("gpu-1", NOW_MS - 990, NOW_MS)
    members = {name.replace(".", "_"): value for name, value in request.members.items() if value != ""}
    told = names.span_members(facts()).items()
    assert members == {name.replace(".", "_"): value for name, value in told if value != ""}


def test_one_that_nobody_called_in_a_trace_begins_it(told_by: Sink) -> None:
    told_by.telemetry.request(facts(trace=msgspec.structs.replace(TRACE, parent_id="")))
    request, engine = sorted(told_by.told().spans, key=lambda span: span.start_ms)
    assert {request.trace_id, engine.trace_id} == {TRACE.trace_id}
    assert (request.parent_id, engine.parent_id) == ("", TRACE.span_id)


def test_what_is_not_traced_and_what_was_not_admitted_has_no_spans(told_by: Sink) -> None:
    told_by.telemetry.request(facts(trace=msgspec.structs.replace(TRACE, sampled=False)))
    told_by.telemetry.request(refusal())
    assert told_by.told().spans == []


def test_what_else_is_counted_has_no_dimension(told_by: Sink) -> None:
    told_by.telemetry.count("LeasesAbandoned", NOW_MS, leases=3, tenant="acme")
    told = told_by.told()
    assert told.series == {("leasesabandoned", ()): 1}
    (line,) = told.lines
    assert (line["LeasesAbandoned"], line["leases"], line["tenant"]) == (1, 3, "acme")


def test_a_fault_is_told_by_its_place_and_never_by_its_text(told_by: Sink) -> None:
    try:
        raise ValueError("the prompt was: launch codes")
    except ValueError as error:
        told_by.telemetry.fault(error, NOW_MS, request_id="r-1")
    told = told_by.told()
    assert told.series == {("fault", ()): 1}
    (line,) = told.lines
    assert (line["error"], line["request_id"]) == ("ValueError", "r-1")
    assert line["where"].startswith("test_contract.py:")
    assert b"launch codes" not in told.raw
