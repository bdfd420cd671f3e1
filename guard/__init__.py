"""What a tenant forbids to be said: its rules, and who looks for them in prompts, and in answers as they stream.

    rules       what is written down: patterns, packs, topics, tools    validity    what may not be set, in plain words
    judge       a rule set that is ready to judge                       packs       patterns of ours, by name
    scanner     what may be released of a text that comes in pieces     checks      checksums of packs
    arguments   the same for JSON, whose strings hide characters        phrases     topics as patterns
    search      matches, and up to where they are final                 tools       which tools, by globs
    syntax      how patterns are read                                   expression  a pattern as a value
    automaton   RE2, which runs them                            globs       what two lists of them both allow
    both        two rule sets as one
    bodies      requests and answers, in the dialects they are written in

Shared by the gateway and by what judges sealed requests on the trusted side; imports neither. By Lambda found in
`vendor/`. A tenant without rules pays nothing: RE2 is imported when a rule set is compiled.

    if said := problems(rules): ...                      # when they are set
    guard = compiled(rules)
    outcome = guard.judge(prompt, "in")                  # .text, .findings, .refused
    scanner = guard.scanner()                            # one for each choice and field
    for piece in pieces: send(scanner.feed(piece))       # raises Refused: .released goes out before the refusal
    send(scanner.finish())

RE2 needs time in proportion to the text, and bounded memory, whatever the pattern: who writes one can neither hang nor
crash another.
"""

from typing import TYPE_CHECKING

from guard.rules import Finding, PackUse, Rule, Rules, SentRules, Tools, Topic

if TYPE_CHECKING:
    from guard.judge import Guard

__all__ = [
    "Finding", "PackUse", "Rule", "Rules", "SentRules", "Tools", "Topic", "compiled", "holds_all_of", "problems",
    "strictest",
]  # fmt: skip


def compiled(rules: Rules) -> "Guard":
    """Of rules without problems; kept, so that equal rules are compiled once."""
    from guard import judge

    return judge.compiled(rules)


def strictest(one: Rules, other: Rules) -> Rules:
    """What refuses, redacts and counts whatever one of the two does, or the other."""
    from guard import both

    return both.strictest(one, other)


def holds_all_of(rules: Rules, other: Rules) -> bool:
    """Whether `rules` forbid all that `other` forbid, as far as that can be read off them."""
    from guard import both

    return both.holds_all_of(rules, other)


def problems(rules: Rules) -> list[str]:
    """What may not be set and why, in plain words; empty: nothing."""
    from guard import validity

    return validity.problems(rules)
