"""Every way of cutting a text gives what the whole gives, and nothing that a rule forbids is ever released."""

import json
from collections.abc import Iterable
from itertools import pairwise

import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guard import Finding, Rule, Rules, compiled, problems
from guard.arguments import ArgumentsScanner
from guard.expression import widths
from guard.judge import MOST_COUNTED
from guard.rules import Action
from guard.scanner import Refused, Scanner
from guard.syntax import parse
from tests.examples import examples

PATTERNS = (
    *("ab", "aba", "a{2,4}", "a(?:b|bc|bcab)", "(?:ab){1,3}c?", r"\bab\b", r"^a", r"b$", r"a\b", r"\Ba", r"(?m)^b"),
    *(r"(?m)a$", "[^a]b?", "é{1,2}", "(?i)K", "(?i)ſ?a", ".é.", r"\s\S{1,3}", "c|abcabc", "(?:a?b?c?){1,2}c", "😀"),
    *(r"a\z", r"\Ab{1,3}", r"(?s)a.b", r"\Wa", "(?i:A)b", r"\pLb", "[[:alpha:]]{3}", "a*?b"[:1] + "{1,3}?b"),
    *("(?:a{0,2}|b)c", r"\b.{2}\b", r"(?:a|b\b){2}", r"[ab]{1,6}c", r"a$|ab\b", "(?s).{5}c"),
)
TEXTS = st.text(st.sampled_from("aabbcAB é\n😀Kſ-"), max_size=40)
ACTIONS: tuple[Action, ...] = ("redact", "redact", "refuse", "flag")
CUTS = st.lists(st.integers(0, 60), max_size=8)
RULES = st.lists(
    st.tuples(st.sampled_from(PATTERNS), st.sampled_from(ACTIONS)),
    min_size=1,
    max_size=4,
).map(lambda each: Rules(tuple(Rule(f"r{place}", pattern, action) for place, (pattern, action) in enumerate(each))))


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


def run(scanner: Scanner | ArgumentsScanner, parts: list[str]) -> tuple[str, tuple[Finding, ...], str | None]:
    released: list[str] = []
    try:
        for part in parts:
            released.append(scanner.feed(part))
        released.append(scanner.finish())
    except Refused as refused:
        return "".join([*released, refused.released]), scanner.findings, refused.rule
    return "".join(released), scanner.findings, None


def told(rules: Rules, text: str) -> tuple[str, tuple[Finding, ...], str | None]:
    """The same by the book: all matches of all rules first, and then from the left to the right."""
    options = re2.Options()
    options.longest_match = True
    matches = []
    counts = [0] * len(rules.rules)
    for place, rule in enumerate(rules.rules):
        spans = [match.span() for match in re2.finditer(rule.pattern, text, options)]
        if rule.action == "flag":
            counts[place] = min(len(spans), MOST_COUNTED)
        else:
            matches += [(begin, place, end) for begin, end in spans]
    shown, at = "", 0
    for begin, place, end in sorted(matches):
        rule = rules.rules[place]
        if rule.action == "refuse":
            return shown + text[at:begin], (Finding(rule.name, 1),), rule.name
        counts[place] += 1
        if begin >= at:
            shown += f"{text[at:begin]}[{rule.name}]"
        at = max(at, end)
    in_order = sorted(range(len(counts)), key=lambda place: rules.rules[place].action == "flag")
    found = tuple(Finding(rules.rules[place].name, counts[place]) for place in in_order if counts[place])
    return shown + text[at:], found, None


@given(RULES, TEXTS)
@settings(max_examples=examples(600))
def test_a_whole_text_is_judged_by_the_book(rules: Rules, text: str) -> None:
    assert problems(rules) == []
    outcome = compiled(rules).judge(text, "out")
    assert (outcome.text, outcome.findings, outcome.refused) == told(rules, text)


@given(RULES, TEXTS, CUTS)
@settings(max_examples=examples(1000))
def test_every_cutting_gives_what_the_whole_gives(rules: Rules, text: str, cuts: list[int]) -> None:
    assert run(compiled(rules).scanner(), pieces(text, cuts)) == told(rules, text)
    assert run(compiled(rules).scanner(), list(text)) == told(rules, text)


LENGTHS = st.sampled_from((0, 100, 255, 256, 400, 1200))


@given(RULES, st.lists(st.tuples(TEXTS, LENGTHS), max_size=5), CUTS)
@example(Rules((Rule("r", "ab"), Rule("no", "c", "refuse"))), [("xab", 1200), ("xabcab", 0)], [])
@settings(max_examples=examples(300))
def test_long_texts_are_judged_by_the_book_too(rules: Rules, parts: list[tuple[str, int]], cuts: list[int]) -> None:
    text = "".join(part + "é x" * length for part, length in parts)
    outcome = compiled(rules).judge(text, "out")
    assert (outcome.text, outcome.findings, outcome.refused) == told(rules, text)
    assert run(compiled(rules).scanner(), pieces(text, [cut * 97 for cut in cuts])) == told(rules, text)


@given(RULES, TEXTS)
@settings(max_examples=examples(300))
def test_what_was_released_never_depends_on_what_comes_next(rules: Rules, text: str) -> None:
    """So it holds no part of a match: whatever follows, the whole would be cut there, too."""
    scanner, released = compiled(rules).scanner(), ""
    try:
        for place, char in enumerate(text):
            released += scanner.feed(char)
            for rest in ("", "a", "b", "c", "ab", "\n", "- "):
                assert told(rules, text[: place + 1] + rest)[0].startswith(released)
    except Refused:
        pass


@given(RULES, TEXTS)
@settings(max_examples=examples(300))
def test_no_more_is_held_back_than_the_widest_match(rules: Rules, text: str) -> None:
    cutting = [rule for rule in rules.rules if rule.action == "redact"]
    widest = max((widths(parse(rule.pattern))[1] or 0 for rule in cutting), default=0)
    scanner = compiled(Rules(tuple(cutting))).scanner()
    sent = 0
    for fed, char in enumerate("x" * 10 + text.replace("a", "x"), start=1):
        shown = scanner.feed(char)
        if "[" in shown or scanner.findings:
            return  # a name is as long as it is
        sent += len(shown)
        assert fed - sent <= widest


ESCAPES = st.sampled_from(
    (
        "a",
        "b",
        "c",
        " ",
        "é",
        r"\u0061",
        r"\u0062",
        r"\n",
        r"\"",
        r"\\",
        r"\/",
        r"\ud83d\ude00",
        r"\ud83d",
        r"\u00E9",
        "😀",
    )
)
JSON = st.recursive(
    st.lists(ESCAPES, max_size=8).map(lambda parts: f'"{"".join(parts)}"') | st.sampled_from(("12", "true", "null")),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]")
        | st.lists(st.tuples(st.lists(ESCAPES, max_size=4), inner), max_size=3).map(
            lambda each: "{" + ",".join(f'"{"".join(name)}":{value}' for name, value in each) + "}"
        )
    ),
    max_leaves=6,
)
BROKEN = st.tuples(JSON, st.integers(0, 80), st.sampled_from(("", "\\", '"', "\\u", "\\q", "\\ud83d", "{"))).map(
    lambda each: each[0][: each[1]] + each[2]
)


@given(RULES, JSON | BROKEN, CUTS)
@settings(max_examples=examples(1000))
def test_every_cutting_of_json_gives_what_the_whole_gives(rules: Rules, text: str, cuts: list[int]) -> None:
    whole = compiled(rules).judge_json(text, "out")
    assert run(compiled(rules).arguments_scanner(), pieces(text, cuts)) == (whole.text, whole.findings, whole.refused)
    assert run(compiled(rules).arguments_scanner(), list(text)) == (whole.text, whole.findings, whole.refused)


@given(st.sampled_from(PATTERNS), JSON)
@settings(max_examples=examples(500))
def test_no_string_that_a_program_reads_holds_a_match(pattern: str, text: str) -> None:
    rules = Rules((Rule("r", pattern, "refuse"),))
    held = any(compiled(rules).judge(each, "out").refused for each in strings(json.loads(text)))
    if held:
        assert compiled(rules).judge_json(text, "out").refused == "r"


@given(JSON | BROKEN, CUTS)
def test_json_without_a_match_is_released_as_it_was_written(text: str, cuts: list[int]) -> None:
    assert run(compiled(Rules((Rule("r", "zz"),))).arguments_scanner(), pieces(text, cuts)) == (text, (), None)


def strings(value: object) -> list[str]:
    match value:
        case str():
            return [value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")]
        case list():
            return [each for inner in value for each in strings(inner)]
        case dict():
            return [each for name, inner in value.items() for each in (*strings(name), *strings(inner))]
    return []
