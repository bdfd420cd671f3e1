"""docs/guardrails.md says what there is."""

import json
import re
from pathlib import Path

import msgspec

import app  # noqa: F401  # fills the table of routes
from chalicelib.http.surface import named_routes
from chalicelib.tenancy.allowed import MANAGEMENT, Allowed, must_be_routes
from guard import Rules, problems, validity
from guard.packs import PACKS

PAGE = (Path(__file__).parents[2] / "docs" / "guardrails.md").read_text()


def test_the_example_can_be_set() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    said = json.loads(example)
    allowed = msgspec.convert(said.pop("allow"), Allowed)
    must_be_routes(allowed.routes, named_routes(MANAGEMENT), "allow.routes")
    assert problems(msgspec.convert(said, Rules)) == []
    assert set(said) == set(Rules.__struct_fields__)


def test_the_packs_are_those_that_there_are() -> None:
    table = PAGE.partition("## Packs")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(PACKS)


def test_the_bounds_are_those_that_hold() -> None:
    for bound in (
        f"{validity.MOST_RULES}; patterns of {validity.MOST_PATTERN:,} characters, matches of {validity.WIDEST:,}",
        f"{validity.MOST_TOPICS}, of {validity.MOST_PHRASES} phrases of {validity.LONGEST_PHRASE} characters",
        f"{validity.MOST_GLOBS} each, of {validity.LONGEST_GLOB} characters",
        f"a line of {validity.LONGEST_REFUSAL} characters",
        f"{validity.MOST_PROMPT_BYTES // 1_000_000} MB",
    ):
        assert bound in PAGE
