"""The bench of many streams counts right, and what it starts ends. How fast anything is proves nothing here."""

import asyncio
import sys
from pathlib import Path

from bench import contestants, environments, goals, tenant
from bench.goals import Goal
from bench.load import ask
from bench.streams import Size, of_ours
from bench.streams_load import hold


def test_every_stream_is_read_to_its_end() -> None:
    with contestants.streaming_upstream(chunks=9, pace_ms=2) as port:
        asked = ask("/v1/chat/completions", None, streamed=True)
        held = asyncio.run(hold(port, [asked] * 40, within_s=60))
    assert [each.wrong for each in held] == [""] * 40
    assert {each.events for each in held} == {9 + 2}, "its chunks, why it ended, and its usage"
    assert all(0 < each.first_ns <= each.total_ns and sum(each.gaps_ns) <= each.total_ns for each in held)


def test_what_is_no_stream_says_so() -> None:
    with contestants.streaming_upstream(chunks=3, pace_ms=1) as port:
        held = asyncio.run(hold(port, [ask("/nowhere", None, streamed=True)] * 2, within_s=60))
    assert [each.events for each in held] == [0, 0]
    assert all(each.wrong.startswith("HTTP/1.1 404") for each in held)


def test_our_gateway_is_measured_with_streams_of_several_tenants() -> None:
    size = Size(streams=70, chunks=20, pace_ms=10)
    figures = asyncio.run(of_ours(size, "Cloister", environments.ROOT, Path(sys.executable)))
    assert figures["answered"] == size.streams
    assert figures["cpu"] > 0 and figures["rss"] > 0 and figures["live"] > 0
    assert {goal.title for goal in goals.of_streams({"Cloister": figures})}


def test_a_key_says_whose_it_is() -> None:
    assert tenant.tenant_of(tenant.new_key("bench3")) == "bench3"


def test_a_goal_is_met_or_it_is_not() -> None:
    assert Goal("a", 3.0, least=3).met and not Goal("a", 2.9, least=3).met
    assert Goal("a", 3.0, most=3).met and not Goal("a", 3.1, most=3).met
