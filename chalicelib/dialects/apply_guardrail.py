"""Bedrock's ApplyGuardrail: how a guardrail is asked about texts, and what it says of them. Sans-IO.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ApplyGuardrail.html
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from chalicelib.pool import BedrockGuardrail

Source = Literal["INPUT", "OUTPUT"]

UNIT_CHARACTERS = 1_000
UNITS_AT_ONCE = 25
"""Of one call: https://docs.aws.amazon.com/general/latest/gr/bedrock.html#limits_bedrock"""


class Verdict(msgspec.Struct, frozen=True):
    """Of the texts of one call. Only `masked` has texts, and what they no longer say."""

    kind: Literal["passed", "masked", "blocked"]
    texts: tuple[str, ...] = ()  # as they may go on: one for each that was asked about, as far as Bedrock is known
    matches: tuple[str, ...] = ()  # what was masked in any of them
    units: Mapping[str, int] = {}  # of text, by kind of policy, as AWS bills them


class Unanswered(Exception):
    """The guardrail could not be asked, or said nothing of use. `symptom`: a code, for the operator."""

    def __init__(self, symptom: str) -> None:
        super().__init__(symptom)
        self.symptom = symptom


ApplyGuardrail = Callable[[BedrockGuardrail, Source, Sequence[str], int], Verdict]
"""Asks within so many milliseconds. Raises Unanswered."""


def units(text: str) -> int:
    return -(-len(text) // UNIT_CHARACTERS)


def request(source: Source, texts: Sequence[str]) -> bytes:
    return msgspec.json.encode({"source": source, "content": [{"text": {"text": text}} for text in texts]})


class _Output(msgspec.Struct):
    text: str = ""


class _Said(msgspec.Struct):
    action: str
    outputs: list[_Output] = []
    assessments: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}


_said = msgspec.json.Decoder(_Said)


def verdict(body: bytes) -> Verdict:
    """Whatever intervenes other than by masking blocks, known to us or not. Raises Unanswered."""
    try:
        said = _said.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unanswered("garbled") from None
    billed = {name.removesuffix("PolicyUnits"): count for name, count in said.usage.items() if _billed(name, count)}
    if said.action == "NONE":
        return Verdict("passed", units=billed)
    met = [each for assessment in said.assessments for each in _met(assessment)]
    done = Counter(str(each["action"]) for each in met)
    if not done.keys() - {"ANONYMIZED", "NONE"} and done["ANONYMIZED"]:
        matches = tuple(str(each.get("match", "")) for each in met if each["action"] == "ANONYMIZED")
        return Verdict("masked", tuple(each.text for each in said.outputs), matches, billed)
    return Verdict("blocked", units=billed)


def _billed(name: str, count: object) -> bool:
    return name.endswith("PolicyUnits") and isinstance(count, int) and count > 0


def _met(node: object) -> Iterator[dict[str, Any]]:
    """What was looked at, in whichever policy: each says what was done about it."""
    if isinstance(node, dict):
        if "action" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _met(each)
