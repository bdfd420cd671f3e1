"""The forms that grammars come in, as engines tell them apart; the size of each is that of a grammar in GBNF.

GBNF (llama.cpp) and its like (xgrammar: vLLM, SGLang) define rules by `::=`, Lark (llguidance) by `:`. What vLLM takes
for Lark it rewrites for xgrammar, not knowing all of it: what is a group to Lark is a class to xgrammar. So such a
grammar is measured in both readings.
"""

import re
from typing import Any, NamedTuple

from bounds import grammars
from bounds.lark import UnknownFormError, written

__all__ = ["Readings", "UnknownFormError", "readings"]

_FIRST = re.compile(
    r"(?>\s+|#[^\n]*|//[^\n]*)*+"
    r"(?:(?P<gbnf>[\w.-]+(?:\[[^\]\n]*\])?\s*::=)|(?P<lark>%|[?!]*[\w-]+(?:\.-?\d+)?(?:\[[^\]\n]*\])?\s*:)|(?P<template>[?!]*\w+\{))"
)
_COMMENT = re.compile(r"(?:#|//).*")
_QUOTED = re.compile("'([^']*)'")


class Readings(NamedTuple):
    """A grammar as engines may read it, and the JSON schemas in it."""

    gbnf: list[str]
    schemas: list[Any]
    keeps_stacks: bool = False
    """Whether an engine keeps a stack for each way to read it; those that take Lark share what ways have in common."""


def readings(grammar: str) -> Readings:
    """Raises UnknownFormError."""
    first = _FIRST.match(grammar)
    if not grammar.strip():
        return Readings([], [])
    if first is None:
        raise UnknownFormError(
            "is in no form that is known here. Send GBNF, which begins with a rule as `root ::= ...`, or Lark, as "
            "`start: ...`."
        )
    if first["gbnf"]:
        return Readings([grammar], [], keeps_stacks=True)
    if "::=" in grammar:
        raise UnknownFormError(
            "begins as Lark and holds `::=`, by which engines tell GBNF. Send one of the two; a text of these "
            'characters may be two texts (`"::" "="`).'
        )
    gbnf, schemas = written(grammar)
    rewritten = _rewritten(grammar)
    return Readings([gbnf, rewritten] if grammars.is_spelled_right(rewritten) else [gbnf], schemas)


def _rewritten(grammar: str) -> str:
    """As vLLM does it, line by line (https://github.com/vllm-project/vllm, vllm/v1/structured_output/utils.py)."""
    lines = []
    for line in grammar.split("\n"):
        kept = _QUOTED.sub(r'"\1"', _COMMENT.sub("", line).strip())
        name, colon, definition = kept.partition(":")
        if kept.startswith("|"):
            lines.append(kept)
        elif colon:
            lines.append(f"{name.strip().strip('?')} ::= {definition}")
    return "\n".join(lines)
