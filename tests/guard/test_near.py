"""One look at a piece tells what many looks tell, whatever patterns count to."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from guard import Rule, Rules
from guard.expression import begun, uncounted, written
from guard.judge import Guard
from guard.scanner import Allowance, Scanner
from guard.search import NEAR
from guard.syntax import parse
from tests.examples import examples
from tests.guard.test_chunks import ACTIONS, CUTS, pieces, run, told

COUNTING = (
    *(
        "[ab]{1,40}c",
        r"\b[a-c]{23,25}\b",
        "a{24,40}b",
        "(?:ab ){3,30}c",
        r"\bb{1,23}-",
        "(?:a{20}b?){1,9}c",
        "é{12,30}",
    ),
    *("[^a]{30}", "(?:b|a{30}){2}c", r"a{0,24}\b-", "c", "(?:(?:ab){1,8} ){1,8}-", r"^a{25}", "(?i)K{10,30}a"),
)
RUNS = st.lists(
    st.tuples(st.sampled_from(("a", "b", "ab", "ab ", "c", " ", "é", "-", "k")), st.integers(1, 40)), max_size=6
).map(lambda each: "".join(what * often for what, often in each))
RULES = st.lists(
    st.tuples(st.sampled_from(COUNTING), st.sampled_from(ACTIONS)),
    min_size=1,
    max_size=3,
).map(lambda each: Rules(tuple(Rule(f"r{place}", pattern, action) for place, (pattern, action) in enumerate(each))))


@given(RULES, RUNS, CUTS)
@example(Rules((Rule("r", "a{24,40}b"),)), "a" * 23 + "b" + "a" * 24 + "b", [])
@settings(max_examples=examples(400))
def test_every_cutting_gives_what_the_whole_gives_however_far_patterns_count(
    rules: Rules, text: str, cuts: list[int]
) -> None:
    scanner = Guard(rules).scanner
    assert run(scanner(), pieces(text, [cut * 7 for cut in cuts])) == told(rules, text)
    assert run(scanner(), list(text)) == told(rules, text)


@given(st.sampled_from(COUNTING), RUNS, CUTS)
@settings(max_examples=examples(400))
def test_one_look_releases_what_many_looks_release(pattern: str, text: str, cuts: list[int]) -> None:
    """At once, and no later: no more is held back for it."""
    guard = Guard(Rules((Rule("r", pattern),)))
    side = guard._out
    assert side.near
    many = Scanner(side._replace(near=None), Allowance())
    one = guard.scanner()
    for piece in pieces(text, [cut * 3 for cut in cuts]):
        assert one.feed(piece) == many.feed(piece)


@given(st.sampled_from(COUNTING), st.text(st.sampled_from("aabbc é-k"), max_size=40) | RUNS)
@settings(max_examples=examples(400))
def test_what_counts_no_further_matches_the_same_short_texts_and_no_fewer_long_ones(pattern: str, text: str) -> None:
    import re2

    node = parse(pattern)
    near = uncounted(node, NEAR)
    for how in (written, begun):
        exact, other = (re2.fullmatch(f"(?:{how(each)})", text) is not None for each in (node, near))
        assert other >= exact
        assert len(text) >= NEAR or other == exact
