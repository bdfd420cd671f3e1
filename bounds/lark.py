"""A grammar in Lark, written in GBNF as far as its size goes: what stands for one character is any one.

The dialect is that of llguidance (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md), which vLLM and
SGLang have; Lark's own is within it, but for templates. Priorities, names of parts and what is imported cost an engine
next to nothing, and are left out.
"""

import json
import re
from typing import Any

from bounds import patterns

_NAME = r"[A-Za-z_]\w*(?:-\w+)*"
_TEXT = r'"(?:[^"\\\n]|\\[^\n])*"'
_PATTERN = r"/(?:[^/\\]|\\.)+/"
_PART = re.compile(
    rf"(?P<nothing>\s+|\#[^\n]*|//[^\n]*|->\s*\w+|%declare\b[^\n]*"
    rf"|%import\s+common\s*(?:\.\s*\w+(?:\s*->\s*\w+)?|\([\w,\s]*\)))"
    rf"|(?P<ignored>%ignore\b)|%(?P<json>json|llguidance)\b"
    rf"|[?!]*(?P<rule>{_NAME})(?:\.-?\d+)?(?P<options>\[[^\]\n]{{0,200}}\])?\s*:(?!:)"
    rf"|(?P<range>{_TEXT}\s*\.\.\s*{_TEXT})|(?P<text>{_TEXT})i?|(?P<pattern>{_PATTERN})[imslux]*"
    rf"|~\s*(?P<least>\d+)(?:\s*\.\.\s*(?P<most>\d+))?|(?P<times>{patterns.TIMES.pattern})"
    rf"|(?P<open>\[)|(?P<close>\])|[()|*+?]|{_NAME}|<[^>\n]*>|@[\w-]+",
    re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_decode = json.JSONDecoder().raw_decode


class UnknownFormError(Exception):
    """A grammar is in no form that is known here; its text says what to do, after the words "The grammar"."""


def written(grammar: str) -> tuple[str, list[Any]]:
    """It in GBNF, and the JSON schemas that stand in it. Raises UnknownFormError."""
    gbnf: list[str] = []
    schemas: list[Any] = []
    at = 0
    while at < len(grammar):
        part = _PART.match(grammar, at)
        if part is None:
            raise _unknown(grammar, at)
        at = part.end()
        if part["json"]:
            try:
                value, at = _decode(grammar, _after_space(grammar, at))
            except (ValueError, RecursionError):
                raise _unknown(grammar, at) from None
            if part["json"] == "json":
                schemas.append(value)
        gbnf.append(_part(part))
    return " ".join(gbnf), schemas


def _part(part: re.Match[str]) -> str:
    if part["nothing"]:
        return ""
    if part["rule"]:
        ends = re.findall(_PATTERN, part["options"] or "")  # what ends a rule's text may be an expression, too
        return f"\n{part['rule']} ::= " + "".join(f"{_expression(end)} | " for end in ends)
    if part["ignored"]:
        return f"\nignored-{part.start()} ::= "
    if part["pattern"]:
        return _expression(part["pattern"])
    if part["least"]:
        return f"{{{part['least']},{part['most'] or part['least']}}}"
    if part["open"] or part["close"]:
        return "(" if part["open"] else ")?"
    return "." if part["range"] or part["json"] else part["text"] or part.group()


def _expression(pattern: str) -> str:
    return f"({' '.join(map(_spelled, patterns.parts(pattern[1:-1])))})"


def _spelled(part: str) -> str:
    """A part of a regular expression."""
    if part.startswith("("):
        return "("
    if part in patterns.ANCHORS:
        return ""
    return part if part in ")|" or patterns.times(part) else "."


def _after_space(grammar: str, at: int) -> int:
    space = _SPACE.match(grammar, at)
    return space.end() if space else at


def _unknown(grammar: str, at: int) -> UnknownFormError:
    line = grammar.count("\n", 0, at) + 1
    return UnknownFormError(
        f"holds something in line {line} that is not taken in Lark. What templates, rules with parameters, `&`, `~` in "
        "front of a thing and directives other than `%import common.NAME`, `%ignore`, `%declare` and `%json` stand for "
        "has to be written out as rules."
    )
