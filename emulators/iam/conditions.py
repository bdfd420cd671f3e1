"""The `Condition` of a policy statement, judged against what is known of one call.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html

A judgement has three values: True, False, and None where this evaluator knows the operator or the key not at all. None
never helps the caller: it does not open an Allow and does not lift a Deny (`policy`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import msgspec

Judgement = bool | None
# What a call says of each condition key, by lower-case name; an empty tuple: this call does not have that key.
Facts = Mapping[str, tuple[str, ...]]

# Keys of these families are known, whatever their last part is.
_FAMILIES = ("kms:encryptioncontext:", "kms:recipientattestation:")
_SET_OPERATORS = ("ForAllValues", "ForAnyValue")
_IF_EXISTS = "IfExists"
_NULL = "Null"
_ARN_PARTS = 6


class Condition(msgspec.Struct, frozen=True):
    """One operator on one key. `wanted` are alternatives."""

    operator: str
    key: str
    wanted: tuple[str, ...]

    def judge(self, facts: Facts) -> Judgement:
        found = _found(facts, self.key.lower())
        if found is None or any("${" in value for value in self.wanted):  # policy variables are not filled in
            return None
        if self.operator == _NULL:
            return any((value.lower() == "true") is (not found) for value in self.wanted)
        over, _, name = self.operator.rpartition(":")
        exists_not_needed = name.endswith(_IF_EXISTS)
        match = _MATCHES.get(name.removesuffix(_IF_EXISTS))
        if match is None or over not in ("", *_SET_OPERATORS):
            return None
        if exists_not_needed and not found:
            return True
        return _over(over, found, lambda value: match(value, self.wanted), absent=match in _NEGATED)


def all_of(judgements: Iterable[Judgement]) -> Judgement:
    """True if all are, False if any is, else not known (Kleene's conjunction)."""
    known: Judgement = True
    for each in judgements:
        if each is False:
            return False
        if each is None:
            known = None
    return known


@cache
def pattern(text: str) -> re.Pattern[str]:
    """`*` stands for any characters, `?` for one; everything else for itself."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", text))
    return re.compile("".join(parts), re.DOTALL)


def _found(facts: Facts, key: str) -> tuple[str, ...] | None:
    return facts.get(key, () if key.startswith(_FAMILIES) else None)


def _over(over: str, found: tuple[str, ...], matches: Callable[[str], bool], *, absent: bool) -> Judgement:
    if over == "ForAllValues":
        return all(matches(value) for value in found)
    if over == "ForAnyValue":
        return any(matches(value) for value in found)
    if len(found) > 1:  # IAM defines no answer without a set operator
        return None
    return matches(found[0]) if found else absent


Match = Callable[[str, tuple[str, ...]], bool]


def _equals(value: str, wanted: tuple[str, ...]) -> bool:
    return value in wanted


def _equals_ignoring_case(value: str, wanted: tuple[str, ...]) -> bool:
    return value.casefold() in {each.casefold() for each in wanted}


def _like(value: str, wanted: tuple[str, ...]) -> bool:
    return any(pattern(each).fullmatch(value) for each in wanted)


def _arn_like(value: str, wanted: tuple[str, ...]) -> bool:
    """Each of an ARN's six parts by itself: a `*` does not reach past a colon."""
    return any(_same_arn(value.split(":", _ARN_PARTS - 1), each.split(":", _ARN_PARTS - 1)) for each in wanted)


def _same_arn(value: list[str], wanted: list[str]) -> bool:
    if len(value) != _ARN_PARTS or len(wanted) != _ARN_PARTS:
        return False
    return all(pattern(each).fullmatch(part) for part, each in zip(value, wanted, strict=True))


def _not(match: Match) -> Match:
    return lambda value, wanted: not match(value, wanted)


_POSITIVE: dict[str, Match] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _equals_ignoring_case,
}
_NEGATIVE: dict[str, Match] = {
    "StringNotEquals": _not(_equals),
    "StringNotEqualsIgnoreCase": _not(_equals_ignoring_case),
    "StringNotLike": _not(_like),
    "ArnNotEquals": _not(_arn_like),
    "ArnNotLike": _not(_arn_like),
}
_MATCHES = _POSITIVE | _NEGATIVE
_NEGATED = frozenset(_NEGATIVE.values())
