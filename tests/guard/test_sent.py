"""Rules that go along with a sealed request: whoever writes them writes the same, whoever reads them has all."""

import json
from pathlib import Path

import msgspec
import pytest

from guard import Rule, Rules, SentRules

GOLDEN = json.loads((Path(__file__).parents[2] / "vectors" / "ticket" / "tickets.json").read_text())
(WRITTEN,) = [golden["rules_json"].encode() for golden in GOLDEN["accepted"] if "rules_json" in golden]


def test_the_golden_rules_are_written_again_to_the_byte() -> None:
    read = SentRules.read(WRITTEN)
    assert read.written() == WRITTEN
    assert (read.rules.rules, read.key_tools) == ((Rule("badge", r"\bid-\d{4}\b"),), ("get_*",))


def test_rules_however_they_were_put_down_are_written_alike() -> None:
    short, long = ({"rules": [{"name": "a", "pattern": "é"} | more]} for more in ({}, {"action": "redact"}))
    one, other = (SentRules(msgspec.convert(said, Rules)).written() for said in (short, long))
    assert one == other
    assert SentRules.read(one).written() == one


@pytest.mark.parametrize("written", [b"", b"{}}", b"[]", b'{"rulez":{}}', b'{"rules":{"rulez":[]}}', b"\xff"])
def test_what_this_program_does_not_know_is_none(written: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        SentRules.read(written)
