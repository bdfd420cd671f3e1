"""The golden texts in vectors/guard/, which every program that judges is held to."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard import PackUse, Rules, compiled, problems
from guard.packs import PACKS
from guard.scanner import Refused

VECTORS = Path(__file__).parents[2] / "vectors" / "guard"
TEXTS: list[dict[str, Any]] = json.loads((VECTORS / "texts.json").read_text())
PACKED: dict[str, dict[str, list[str]]] = json.loads((VECTORS / "packs.json").read_text())
FOUND = [(pack, text) for pack, texts in PACKED.items() for text in texts["found"]]
NOT_FOUND = [(pack, text) for pack, texts in PACKED.items() for text in texts["not_found"]]


@pytest.mark.parametrize("told", TEXTS, ids=[told["name"] for told in TEXTS])
def test_a_golden_text_is_released_as_it_says_whole_and_by_the_character(told: dict[str, Any]) -> None:
    rules = msgspec.convert(told["rules"], Rules)
    assert problems(rules) == []
    guard = compiled(rules)
    judge, scanner = (
        (guard.judge_json, guard.arguments_scanner()) if told["read_as"] == "json" else (guard.judge, guard.scanner())
    )

    outcome = judge(told["text"], "out")
    assert (outcome.text, outcome.refused) == (told["released"], told["refused"])
    assert {finding.rule: finding.count for finding in outcome.findings} == told["findings"]

    released = ""
    try:
        for char in told["text"]:
            released += scanner.feed(char)
        released += scanner.finish()
    except Refused as refused:
        released += refused.released
        assert refused.rule == told["refused"]
    assert released == told["released"]
    assert scanner.findings == outcome.findings


def test_each_pack_has_texts_that_it_finds_and_some_that_it_does_not() -> None:
    assert list(PACKED) == list(PACKS)
    assert all(texts["found"] and texts["not_found"] for texts in PACKED.values())


@pytest.mark.parametrize(("pack", "text"), FOUND, ids=[f"{pack} {place}" for place, (pack, _) in enumerate(FOUND)])
def test_a_pack_finds_what_it_is_for(pack: str, text: str) -> None:
    assert compiled(Rules(packs=(pack,))).judge(f"it is <{text}>.", "in").text == f"it is <[{pack}]>."


@pytest.mark.parametrize(
    ("pack", "text"), NOT_FOUND, ids=[f"{pack} {place}" for place, (pack, _) in enumerate(NOT_FOUND)]
)
def test_a_pack_lets_pass_what_only_looks_like_it(pack: str, text: str) -> None:
    assert compiled(Rules(packs=(pack,))).judge(f"it is <{text}>.", "in").findings == ()


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_refuses_and_flags_as_well(pack: str) -> None:
    text = PACKED[pack]["found"][0]
    assert compiled(Rules(packs=(PackUse(pack, "refuse"),))).judge(f"<{text}", "out").refused == pack
    flagged = compiled(Rules(packs=(PackUse(pack, "flag", "in"),)))
    assert [finding.rule for finding in flagged.judge(text, "in").findings] == [pack]
    assert flagged.judge(text, "out").findings == ()
