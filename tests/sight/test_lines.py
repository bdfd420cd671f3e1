"""The line of a request, as CloudWatch reads it."""

import random
from pathlib import Path

import msgspec
import pytest

from chalicelib.sight.lines import Lines
from chalicelib.sight.names import DIMENSIONS, METRICS
from tests.sight.facts import CHATS, facts, refusal

PAGE = Path(__file__).parents[2] / "docs" / "sight.md"
REASONS = ("", "EngineFailed", "EngineTimedOut", "client_left")


def test_a_request_is_one_line_with_all_its_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    Lines("cloister-prod").request(facts())
    (line,) = capsys.readouterr().out.splitlines()
    said = msgspec.json.decode(line)
    in_three, in_one = said["_aws"]["CloudWatchMetrics"]
    assert in_three["Dimensions"] == [["service", "pool", "route"], ["service"]]
    assert {each["Name"]: said[each["Name"]] for each in in_three["Metrics"]} == {
        "RequestCount": 1, "RequestLatency": 1_000, "TokenUsage": 57, "CostEstimate": 31, "tokens_in": 12,
        "tokens_out": 45, "queue_position": 3, "predicted_start_ms": 120, "time_to_first_token_ms": 400,
        "decode_time_ms": 600,
    }  # fmt: skip
    assert [each["Name"] for each in in_one["Metrics"]] == ["Settled"]
    assert (said["service"], said["pool"], said["route"]) == ("cloister-prod", "model-a", CHATS)
    assert (said["tenant"], said["request_id"], said["trace_id"]) == ("acme", "r-1", facts().trace.trace_id)
    assert (said["outcome"], said["duration_ms"]) == ("completed", 990)


@pytest.mark.parametrize(
    ("reason", "counted"),
    [
        ("RateLimited", {"RefusalCount": 1, "RefusalCount.RateLimited": 1}),
        ("StoreUnavailable", {"ErrorCount": 1, "ErrorCount.StoreUnavailable": 1}),
        ("client_left", {}),
        ("revoked", {}),
    ],
)
def test_refusals_and_errors_are_counted_by_kind(
    capsys: pytest.CaptureFixture[str], reason: str, counted: dict[str, int]
) -> None:
    Lines().request(refusal(reason=reason))
    said = msgspec.json.decode(capsys.readouterr().out)
    assert {name: value for name, value in said.items() if name.startswith(("RefusalCount", "ErrorCount"))} == counted
    assert said["reason"] == reason
    assert "RequestLatency" not in said  # which would say how fast refusals are


def test_a_thousand_tenants_are_no_metric_more(capsys: pytest.CaptureFixture[str]) -> None:
    lines, chance, series = Lines(), random.Random(13), set()
    for number in range(10_000):
        reason = chance.choice(REASONS)
        lines.request(
            facts(
                tenant=f"tenant-{chance.getrandbits(48):x}",
                request_id=f"r-{number}",
                lease=f"l-{number}",
                pool=chance.choice(("model-a", "model-b")),
                target=f"gpu-{number}",
                reason=reason,
                outcome="failed" if reason else "completed",
            )
        )
    written = capsys.readouterr().out.splitlines()
    assert len(written) == 10_000
    for line in map(msgspec.json.decode, written):
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for dimensions in directive["Dimensions"]:
                where = tuple((name, line[name]) for name in dimensions)
                series |= {(metric["Name"], where) for metric in directive["Metrics"]}
    # Each of the metrics in two pools and in all of them together; and a few kinds.
    assert len(series) <= 3 * len(METRICS) + len(REASONS) + 1


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    told = {row[0].strip("`"): (row[1], row[3]) for row in rows if len(row) == 4}
    assert told == {name: (metric.unit, metric.meaning) for name, metric in METRICS.items()}
    assert all(f"`{dimension}`" in PAGE.read_text() for dimension in DIMENSIONS)
