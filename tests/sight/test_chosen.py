"""Which telemetry a deployment has, and what it loads for it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chalicelib.settings import BadSettings, read
from chalicelib.sight.bounded import Bounded
from chalicelib.sight.otlp import Otlp
from tests.sight.facts import NOW_MS, facts, refusal
from tests.sight.sinks import Collector

ROOT = Path(__file__).parents[2]
HEAVY = ("aws_lambda_powertools", "aws_xray_sdk", "opentelemetry")
LOADED = """
import json, sys
import msgspec
from chalicelib.settings import Settings
from chalicelib.sight.chosen import telemetry
from tests.sight.facts import TRACE, facts
chosen, loaded = telemetry(Settings(**json.loads(sys.argv[1]))), []
for sampled in (False, True):
    chosen.request(facts(trace=msgspec.structs.replace(TRACE, sampled=sampled)))
    loaded.append(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[2:])))
print(json.dumps(loaded))
"""


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({}, [], []),
        ({"trace_percent": 5}, [], ["aws_lambda_powertools", "aws_xray_sdk"]),
        ({"telemetry": "powertools"}, ["aws_lambda_powertools"], ["aws_lambda_powertools"]),
        (
            {"telemetry": "otlp", "otlp_endpoint": "http://127.0.0.1:9", "trace_percent": 5},
            ["opentelemetry"],
            ["opentelemetry"],
        ),
    ],
    ids=["nothing", "tracing", "powertools", "otlp"],
)
def test_nobody_loads_what_they_have_not_chosen(settings: dict[str, object], before: object, after: object) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(settings), *HEAVY], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == [before, after]


@pytest.mark.parametrize(
    "wrong",
    [
        {"CLOISTER_TELEMETRY": "loudly"},
        {"CLOISTER_TELEMETRY": "otlp"},
        {"CLOISTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        {"CLOISTER_OTLP_ENDPOINT": "somewhere", "CLOISTER_TELEMETRY": "otlp"},
        {"CLOISTER_TRACE_PERCENT": "101"},
    ],
)
def test_what_makes_no_sense_is_refused_at_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match=next(iter(wrong))):
        read(wrong)


@pytest.mark.parametrize("answers", ["503", "nothing"])
def test_a_collector_that_is_broken_keeps_nobody_waiting(answers: str) -> None:
    collector = Collector()
    collector.broken = True
    if answers == "nothing":
        collector.close()
    otlp = Otlp("cloister-test", collector.address)
    telemetry = Bounded(otlp)
    began_s = time.monotonic()
    for number in range(500):
        telemetry.request(facts(request_id=str(number)))
    telemetry.request(refusal())
    telemetry.count("Anything", NOW_MS)
    telemetry.fault(ValueError("of ours"), NOW_MS)
    assert time.monotonic() - began_s < 60  # a guard: had each waited for the collector, it would be hours
    telemetry.flush()
    otlp.close()
    if answers == "503":
        collector.close()
