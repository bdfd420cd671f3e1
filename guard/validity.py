"""What may not be set, said to whoever sets it, in plain words: an empty list is a rule set that `compiled` takes.

Patterns that are searched for in answers, and those that redact, need a widest match: text is held back until it can no
longer become one, and no longer than that.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from guard.automaton import Automaton, Unfit
from guard.expression import widths, written
from guard.judge import compiled
from guard.packs import PACKS
from guard.rules import PackUse, Rule, Rules, Tools, Topic
from guard.syntax import Misread, parse

MOST_RULES = 50
MOST_PATTERN = 1_000  # characters
WIDEST = 1_000  # characters of a match
MOST_TOPICS = 20
MOST_PHRASES = 100  # of one topic
LONGEST_PHRASE = 100  # characters
MOST_GLOBS = 200  # allowed, and blocked
LONGEST_GLOB = 128  # characters
LONGEST_REFUSAL = 500  # characters
MOST_PROMPT_BYTES = 100_000_000

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def problems(rules: Rules) -> list[str]:
    """Looks at each part, and then whether all of it together can be compiled."""
    found = [
        *_counts(rules),
        *_names([rule.name for rule in rules.rules] + [topic.name for topic in rules.topics], rules.pack_uses),
        *(problem for rule in rules.rules[:MOST_RULES] for problem in _rule(rule)),
        *(problem for topic in rules.topics[:MOST_TOPICS] for problem in _topic(topic)),
        *_tools(rules.tools),
    ]
    return found or list(_together(rules))


def _counts(rules: Rules) -> Iterator[str]:
    if len(rules.rules) > MOST_RULES:
        yield f"there are {len(rules.rules):,} rules, and may be {MOST_RULES}"
    if len(rules.topics) > MOST_TOPICS:
        yield f"there are {len(rules.topics):,} topics, and may be {MOST_TOPICS}"
    if len(rules.refusal) > LONGEST_REFUSAL:
        yield f"the refusal has {len(rules.refusal):,} characters, and may have {LONGEST_REFUSAL}"
    if any(not char.isprintable() for char in rules.refusal):
        yield "the refusal holds a control character; it is one line of text"
    if rules.max_prompt_bytes is not None and not 1 <= rules.max_prompt_bytes <= MOST_PROMPT_BYTES:
        yield f"max_prompt_bytes is {rules.max_prompt_bytes:,}, and may be 1 to {MOST_PROMPT_BYTES:,}"


def _names(names: list[str], uses: Sequence[PackUse]) -> Iterator[str]:
    for name in names[: MOST_RULES + MOST_TOPICS]:
        if not _NAME.fullmatch(name):
            yield f"the name {name[:80]!r} is not 1 to 64 letters, digits, `_` or `-`"
    for use in uses[: 2 * len(PACKS)]:
        if use.name not in PACKS:
            yield f"there is no pack {use.name[:80]!r}; there are {', '.join(PACKS)}"
    if len(uses) > 2 * len(PACKS):
        yield f"there are {len(uses):,} packs named, and only {len(PACKS)} to be had"
    for name, count in Counter([*names, *(use.name for use in uses)]).items():
        if count > 1:
            yield f"{count} rules, packs or topics are called {name[:80]!r}: a finding must say which it was"


def _rule(rule: Rule) -> Iterator[str]:
    called = f"rule {rule.name[:80]!r}"
    if len(rule.pattern) > MOST_PATTERN:
        yield f"{called}: its pattern has {len(rule.pattern):,} characters, and may have {MOST_PATTERN:,}"
        return
    try:
        node = parse(rule.pattern)
        Automaton(written(node))
    except (Misread, Unfit) as refused:
        yield f"{called}: its pattern {refused}"
        return
    narrowest, widest = widths(node)
    if narrowest == 0:
        yield f"{called}: its pattern matches an empty text, which is everywhere"
    if rule.action == "redact" or rule.direction != "in":
        why = "redacts" if rule.action == "redact" else "looks at answers, which leave as they come"
        if widest is None:
            yield (
                f"{called}: it {why}, so its pattern needs an end: in the place of `*`, `+` or `{{2,}}` write how "
                "often at most, as in `{0,100}`"
            )
        elif widest > WIDEST:
            yield f"{called}: it {why}, so a match may have {WIDEST:,} characters at most; its pattern's has {widest:,}"


def _topic(topic: Topic) -> Iterator[str]:
    called = f"topic {topic.name[:80]!r}"
    if not 1 <= len(topic.phrases) <= MOST_PHRASES:
        yield f"{called}: it has {len(topic.phrases):,} phrases, and may have 1 to {MOST_PHRASES}"
        return
    for phrase in topic.phrases:
        if (
            len(phrase) > LONGEST_PHRASE
            or not phrase.strip()
            or any(ord(char) in range(0xD800, 0xE000) for char in phrase)
        ):
            yield f"{called}: a phrase is 1 to {LONGEST_PHRASE} characters of text, and {phrase[:20]!a} is not"
            return


def _tools(tools: Tools) -> Iterator[str]:
    for what, globs in (("allowed", tools.allowed), ("blocked", tools.blocked)):
        if len(globs) > MOST_GLOBS:
            yield f"there are {len(globs):,} {what} tools, and may be {MOST_GLOBS}"
        for glob in globs[:MOST_GLOBS]:
            if not (0 < len(glob) <= LONGEST_GLOB and glob.isprintable()):
                yield f"the {what} tool {glob[:80]!r} is not 1 to {LONGEST_GLOB} characters of a name, `*` or `?`"


def _together(rules: Rules) -> Iterator[str]:
    try:
        compiled(rules)
    except Unfit:
        yield "the patterns are too large together; shorten them, repeat less, or give an end to those without one"
