"""Nothing that a tenant writes hangs or crashes another, and who has no rules pays nothing."""

import random
import subprocess
import sys
from itertools import count

import pytest

from guard import Rule, Rules, compiled, problems
from guard.judge import Guard, _Kept
from guard.packs import PACKS
from guard.scanner import Allowance, TooCostly

HARD = Rules(rules=(Rule("r", "[ab]{0,450}a[ab]{450}c"),))
ORDINARY = Rules(rules=(Rule("badge", r"\bid-\d{4,6}\b"),), packs=tuple(PACKS))


def ab(length: int) -> str:
    return random.Random(7).randbytes(length).translate(b"ab" * 128).decode()


def test_a_text_that_takes_too_long_is_refused_in_its_middle() -> None:
    assert problems(HARD) == []
    with pytest.raises(TooCostly):
        Guard(HARD).judge(ab(10_000_000), "in")


def test_a_stream_that_takes_too_long_ends() -> None:
    scanner = Guard(HARD).scanner(Allowance(map(float, count()).__next__))
    with pytest.raises(TooCostly):
        for _ in range(3):
            scanner.feed(ab(1000))


def test_all_the_texts_of_a_request_have_one_allowance() -> None:
    ticks = (tick * 0.3 for tick in count())
    guard, allowance = Guard(HARD), Allowance(ticks.__next__)
    for _ in range(3):
        guard.judge(ab(1000), "in", allowance)
    with pytest.raises(TooCostly):
        guard.judge_json(f'"{ab(1000)}"', "in", allowance)


def test_an_endless_pattern_is_not_begun_with_a_text_that_could_take_too_long() -> None:
    rules = Rules(rules=(Rule("r", "(?:a|b)*a(?:a|b){300}c", "refuse", "in"),))
    assert problems(rules) == []
    with pytest.raises(TooCostly):
        Guard(rules).judge("a" * 1_000_000, "in")


def test_repetitions_in_repetitions_take_no_longer_than_others() -> None:
    rules = Rules(rules=(Rule("r", "(a+)+$", "refuse", "in"),))
    assert Guard(rules).judge("a" * 1_000_000 + "!", "in").refused is None


def test_an_ordinary_rule_set_judges_a_large_prompt() -> None:
    words = " ".join(
        random.Random(7).choices(("the", "price", "of", "12", "is", "3.50", "on", "2024-11-05"), k=200_000)
    )
    assert Guard(ORDINARY).judge(words, "in").findings == ()


def test_what_is_kept_is_bounded_by_the_memory_that_it_may_come_to_use() -> None:
    kept = _Kept()
    guards = [kept.of(Rules(rules=(Rule(f"r{place}", "[ab]{0,450}a[ab]{450}c"),))) for place in range(60)]
    assert kept.of(guards[-1].rules) is guards[-1]
    assert kept.of(guards[0].rules) is not guards[0]


def test_equal_rules_are_compiled_once() -> None:
    assert compiled(ORDINARY) is compiled(Rules(rules=ORDINARY.rules, packs=ORDINARY.packs))


def test_re2_is_imported_by_whoever_has_rules() -> None:
    program = (
        "import sys, app, guard; before = 're2' in sys.modules; guard.compiled(guard.Rules()); "
        "print(before, 're2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
