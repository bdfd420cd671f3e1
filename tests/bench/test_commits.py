"""The comparison with another commit: what it is asked for, and what it prints."""

import json

import pytest

from bench.commits import FEWEST_ROUNDS, ROUNDS, as_json, options, print_comparison
from bench.table import Row

ROWS = (Row("cpu", "CPU per request", "ms"), Row("per_s", "requests/s", "1/s", more_is_better=True))
BEFORE = [{"cpu": cpu, "per_s": 1_000 / cpu} for cpu in (1.0, 2.0, 4.0, 8.0, 16.0)]
NOW = [{"cpu": 1.5 * each["cpu"], "per_s": each["per_s"]} for each in BEFORE]


def test_a_commit_is_enough_to_ask_for() -> None:
    given = options(["main~3"])
    assert (given.commit, given.rounds, given.json) == ("main~3", ROUNDS, None)


@pytest.mark.parametrize("arguments", [[], ["main", "--rounds", str(FEWEST_ROUNDS - 1)], ["main", "--rounds", "many"]])
def test_no_commit_and_too_few_rounds_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        options(arguments)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_each_row_has_both_figures_their_ratio_and_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(ROWS, NOW, BEFORE)
    head, _, cpu, per_s = (
        [cell.strip() for cell in line.strip("| \n").split("|")] for line in capsys.readouterr().out.splitlines()
    )
    assert head == ["unit", "before", "now", "now / before"]
    assert cpu[2:] == ["4.00 (2.00 to 8.00)", "6.00 (3.00 to 12.0)", "1.500 (1.500 to 1.500)", "slower by 50.0 %"]
    assert per_s[-1] == "same"


def test_the_json_has_each_round_as_well() -> None:
    found = json.loads(json.dumps(as_json(ROWS, NOW, BEFORE)))
    assert found["cpu"]["rounds"]["now"] == [1.5, 3, 6, 12, 24]
    assert found["cpu"]["ratio"] == {"low": 1.5, "median": 1.5, "high": 1.5}
    assert found["per_s"]["verdict"] == "same"
