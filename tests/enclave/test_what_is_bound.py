"""The page says which of a ticket's claims a request is bound to, mode by mode; and so it is."""

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard import SentRules
from sealed import esdk, hpke, ticket
from sealed.ticket import Claims
from tests.enclave.houses import Kms, Refusal, TestedEnclave

SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
MODES = ("kms", "esdk", "hpke")
ROWS = {
    name: dict(zip(MODES, cells, strict=True))
    for name, *cells in re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \|$", SECURITY, re.MULTILINE)
}
OF_EVERY_TICKET = {"use", "mode", "body_sha256", "expires_ms"}
ASKED = b'{"messages":[]}'
RULES = SentRules().written()


def sealed(house: TestedEnclave, kms: Kms, mode: str, names: dict[str, Any]) -> bytes:
    match mode:
        case "kms":
            return kms.encrypt(house.key, ASKED)
        case "esdk":
            return esdk.seal(kms.client, house.key, esdk.request_context(**names), ASKED)
        case _:
            return hpke.seal_request(house.epoch(), pool="demo", plaintext=ASKED, **names)[0]


def test_every_claim_that_the_gateway_decides_is_on_the_page() -> None:
    assert ROWS.keys() == {field.name for field in msgspec.structs.fields(Claims)} - OF_EVERY_TICKET


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("claim", sorted(ROWS))
def test_what_is_bound_cannot_be_said_otherwise_and_what_is_free_can(
    house: TestedEnclave, kms: Kms, mode: str, claim: str
) -> None:
    others: dict[str, Any] = {
        "tenant": "evil",
        "key_arn": kms.key(),
        "request_id": "another",
        "pool": "other",
        "operation": "completions",
        "surface": "native",
        "stream": True,
        "ceiling_tokens": 1,
        "rules_sha256": hashlib.sha256(RULES).hexdigest(),
    }
    names: dict[str, Any] = {"tenant": "acme", "request_id": "request-1"}
    blob = sealed(house, kms, mode, names)
    signed = house.ticket(blob, mode=mode, **names | {claim: others[claim]})
    ruled = claim == "rules_sha256"
    with house.greeted() as line:
        try:
            told = line.opened(signed, ticket.with_rules(RULES, blob) if ruled else blob)
            opened = told == (b"\0" + ASKED if ruled else ASKED)
        except Refusal as refused:
            assert refused.code == "not_opened"
            opened = False
    assert ROWS[claim][mode] == ("free" if opened else "bound")
