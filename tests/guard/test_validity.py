"""What may not be set is said in plain words, and what may be set is always compiled."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard import PackUse, Rule, Rules, Tools, Topic, compiled, problems, validity
from guard.rules import Action, Direction
from tests.examples import examples


def said(*rules: Rule) -> str:
    return "\n".join(problems(Rules(rules=rules)))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        *((look, "looks ahead or behind") for look in ("a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b")),
        *((back, "refers back to a group") for back in (r"(a)\1", r"(?P<x>a)\k<x>", r"(a)\g1")),
        *((odd, "a group of an unknown kind") for odd in ("(?>a)", "(?#a)b", "(?P=x)", "(?U)a")),
        *((escape, "not known here") for escape in (r"\Qa\E", r"\C", r"\0", r"\ä", "[[:alfa:]]")),
        *((twice, "two repetitions") for twice in ("a**", "a{2}{3}", "a+*", "a???")),
        *((place, "repeats a place") for place in (r"\b+a", "^*a", "${2}")),
        *((empty, "matches an empty text") for empty in ("", "a*", "(?:a|)", "^", "()", "a{0}", "a{0,3}")),
        *((invalid, "RE2: invalid") for invalid in ("[z-a]", r"\p{Greeek}", "(?:a{100}){100}")),
        ("(" * 31 + "a" + ")" * 31, "more than 30 deep"),
        ("(a", "`(` without its `)`"),
        ("a)", "`)` without its `(`"),
        ("[a", "`[` without its `]`"),
        ("a\\", "ends in a `\\`"),
        ("*a", "nothing before it"),
        ("a(?i)b", "in its middle"),
        (r"\bfoo\Z", r"is `\z` here"),
        ("a{1001}", "more than 1,000 times"),
        ("a{3,2}", "at least 3 times and at most 2"),
        ("\ud800", "half of a character"),
        ("a" * 1001, "may have 1,000"),
        (r"(?:\pL{900}x)", "is too large"),
    ],
)
def test_a_pattern_that_cannot_be_a_rule_is_told_what_is_wrong_with_it(pattern: str, words: str) -> None:
    assert words in said(Rule("r", pattern, "refuse", "in"))


@pytest.mark.parametrize("pattern", ["a+", "a.*b", "a{2,}", "(?:a|b+)c"])
def test_what_redacts_or_looks_at_answers_needs_an_end(pattern: str) -> None:
    for action, direction in (("redact", "in"), ("refuse", "out"), ("flag", "both")):
        assert "needs an end" in said(Rule("r", pattern, action, direction))  # type: ignore[arg-type]
    for action in ("refuse", "flag"):
        assert said(Rule("r", pattern, action, "in")) == ""  # type: ignore[arg-type]


def test_a_match_that_is_held_back_has_a_bound() -> None:
    assert said(Rule("r", "a{1000}")) == ""
    assert "may have 1,000 characters at most; its pattern's has 1,001" in said(Rule("r", "a{1000}b"))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (Rules(rules=(Rule("a]b", "x"),)), "not 1 to 64 letters"),
        (Rules(rules=(Rule("", "x"),)), "not 1 to 64 letters"),
        (Rules(rules=(Rule("a", "x"), Rule("a", "y"))), "2 rules, packs or topics are called 'a'"),
        (Rules(rules=(Rule("mail", "x"),), packs=("mail",)), "are called 'mail'"),
        (Rules(rules=tuple(Rule(f"r{place}", "x") for place in range(51))), "51 rules, and may be 50"),
        (Rules(packs=("cats",)), "no pack 'cats'; there are cards, iban"),
        (Rules(packs=(PackUse("mail"), "mail")), "are called 'mail'"),
        (Rules(packs=("mail",) * 15), "15 packs named"),
        (Rules(topics=(Topic("t", ()),)), "1 to 100"),
        (Rules(topics=(Topic("t", (" ",)),)), "1 to 100 characters of text"),
        (Rules(topics=(Topic("t", ("a" * 101,)),)), "1 to 100 characters of text"),
        (Rules(topics=tuple(Topic(f"t{place}", ("x",)) for place in range(21))), "21 topics"),
        (Rules(tools=Tools(blocked=("",))), "the blocked tool ''"),
        (Rules(tools=Tools(allowed=("a",) * 201)), "201 allowed tools"),
        (Rules(refusal="x" * 501), "the refusal has 501"),
        (Rules(refusal="a\nb"), "control character"),
        (Rules(max_prompt_bytes=0), "max_prompt_bytes is 0"),
        (Rules(rules=tuple(Rule(f"r{place}", "(?s).{300}z") for place in range(8))), "too large together"),
    ],
)
def test_a_rule_set_that_cannot_be_is_told_why(rules: Rules, words: str) -> None:
    assert words in "\n".join(problems(rules))


def test_the_largest_topics_are_taken() -> None:
    phrases = tuple(f"a phrase of words {place}" for place in range(validity.MOST_PHRASES))
    assert problems(Rules(topics=(Topic("t", phrases),))) == []


@pytest.mark.parametrize(
    "pattern", ["{", "a{,5}b", "}", "]", '{"a": 1}', "[]a]", "[^]a]", r"[\]\d-]", "a??b", "a{2}?", "-#~&", " "]
)
def test_what_other_engines_read_otherwise_is_read_as_re2_does(pattern: str) -> None:
    import re2

    guard = compiled(Rules(rules=(Rule("r", pattern),)))
    for text in ("a", "aa", "{", "a{,5}b", "}", "]", '{"a": 1}', "-#~&", " ", "1", "x", "^"):
        options = re2.Options()
        options.longest_match = True
        assert guard.judge(text, "in").text == re2.sub(pattern, "[r]", text, options=options), (pattern, text)


@given(st.text(st.sampled_from("ab(|)*+?{}[]^$\\.,0123:idwbpLz-<>é"), max_size=25), st.sampled_from(("in", "both")))
@settings(max_examples=examples(1500))
def test_whatever_is_written_is_told_or_taken(pattern: str, direction: Direction) -> None:
    action: Action = "refuse"
    rules = Rules(rules=(Rule("r", pattern, action, direction),))
    if problems(rules) == []:
        compiled(rules).judge("aab1 é{}()\n", "in")
        compiled(rules).judge("aab1 é{}()\n", "out")
