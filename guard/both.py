"""Two rule sets that hold at once, a tenant's and a key's, as one. Pure; needs no RE2.

Of what both have, in each direction, the stricter action counts. Nothing is loosened by adding a rule set.
"""

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

import msgspec

from guard.globs import common, covers
from guard.rules import Action, Direction, PackUse, Rule, Rules, Tools, Topic

Named = TypeVar("Named", Rule, PackUse, Topic)

_LENIENT_FIRST: tuple[Action, ...] = ("flag", "redact", "refuse")
_WAYS: tuple[Direction, ...] = ("in", "out")
_NONE = "(none)"
"""What is left of two lists of allowed tools that have nothing in common, for an empty one is everything."""


def strictest(one: Rules, other: Rules) -> Rules:
    """What refuses, redacts and counts whatever one of the two does, or the other; in the words of the first."""
    longest = [each for each in (one.max_prompt_bytes, other.max_prompt_bytes) if each is not None]
    rules = _merged(one.rules, other.rules, set())
    packs = _merged(one.pack_uses, other.pack_uses, set())
    topics = _merged(one.topics, other.topics, {each.name for each in rules})
    return Rules(
        rules, packs, topics, _tools(one.tools, other.tools), one.refusal or other.refusal, min(longest, default=None)
    )


def holds_all_of(rules: Rules, other: Rules) -> bool:
    """Whether `rules` forbid all that `other` forbid, as far as that can be read off them."""
    if (
        other.max_prompt_bytes is not None
        and (rules.max_prompt_bytes or other.max_prompt_bytes + 1) > other.max_prompt_bytes
    ):
        return False
    tools, others = rules.tools, other.tools
    if others.allowed and not (tools.allowed and all(covers(others.allowed, glob) for glob in tools.allowed)):
        return False
    return (
        all(covers(tools.blocked, glob) for glob in others.blocked)
        and set(other.rules) <= set(rules.rules)
        and set(other.topics) <= set(rules.topics)
        and set(other.pack_uses) <= set(rules.pack_uses)
    )


def _tools(one: Tools, other: Tools) -> Tools:
    allowed = one.allowed or other.allowed
    if one.allowed and other.allowed:
        allowed = common(one.allowed, other.allowed) or (_NONE,)
    return Tools(allowed, tuple(dict.fromkeys((*one.blocked, *other.blocked))))


def _merged(one: tuple[Named, ...], other: tuple[Named, ...], taken: Collection[str]) -> tuple[Named, ...]:
    """Names stay apart: a finding says which rule it was, and by its name a rule refuses."""
    theirs = {_what(each): each for each in other}
    merged: list[Named] = []
    for mine in one:
        merged += _stricter(mine, theirs.pop(_what(mine), mine))
    names = {*taken, *(each.name for each in merged)}
    for each in theirs.values():
        while each.name in names:
            each = msgspec.structs.replace(each, name=f"{each.name}-key")
        names.add(each.name)
        merged.append(each)
    return tuple(merged)


def _what(named: Named) -> Any:
    """All that it is but for what is done about it."""
    return msgspec.structs.replace(named, action="flag", direction="both")


def _stricter(mine: Named, theirs: Named) -> Iterator[Named]:
    actions = {way: _action(way, (mine, theirs)) for way in _WAYS}
    if actions["in"] == actions["out"]:
        yield msgspec.structs.replace(mine, action=actions["in"], direction="both")
        return
    for way, action in actions.items():
        if action is not None:
            yield msgspec.structs.replace(mine, action=action, direction=way)


def _action(way: Direction, of: Collection[Named]) -> Action | None:
    said = [each.action for each in of if each.direction in (way, "both")]
    return max(said, key=_LENIENT_FIRST.index, default=None)
