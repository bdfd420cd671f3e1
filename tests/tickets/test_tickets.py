"""Tickets: what an enclave may trust, and where the key that signs them comes from."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chalicelib.refusal import NoCapacity
from chalicelib.tickets import Claims, Tickets, Use
from chalicelib.tickets.issuer import ASK_MS, REREAD_MS, RUN_MS, Unreadable
from sealed import ticket
from sealed.refusal import TicketRefused
from tests.small_deployments import T0, Hands

GOLDEN = json.loads((Path(__file__).parents[2] / "vectors" / "ticket" / "tickets.json").read_text())
KEYS = [bytes([number]) * 32 for number in range(3)]
CLAIMS = Claims(
    "run", "acme", "esdk", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "r-1", "demo", "chat.completions", "openai", True, 256,
)  # fmt: skip


def trusted(*keys: bytes) -> dict[bytes, Ed25519PublicKey]:
    publics = [Ed25519PrivateKey.from_private_bytes(key).public_key() for key in keys]
    return {ticket.kid_of(public): public for public in publics}


class Vault:
    """Hands out a key, or nothing; counts how often it was asked."""

    def __init__(self, key: bytes | None = KEYS[0]) -> None:
        self.key = key
        self.asked = 0

    def __call__(self) -> bytes:
        self.asked += 1
        if self.key is None:
            raise Unreadable("nothing there")
        return self.key


def test_the_enclave_reads_exactly_what_the_gateway_permits() -> None:
    issued = Tickets(Vault(), Hands()).issue(CLAIMS, b"sealed")
    said = ticket.verify(issued, b"sealed", trusted(KEYS[0]), T0)
    assert (said.use, said.tenant, said.mode, said.key_arn) == ("run", "acme", "esdk", CLAIMS.key_arn)
    assert (said.request_id, said.pool, said.operation, said.surface) == ("r-1", "demo", "chat.completions", "openai")
    assert (said.stream, said.ceiling_tokens) == (True, 256)


@pytest.mark.parametrize("golden", GOLDEN["accepted"], ids=lambda golden: golden["name"])
def test_the_golden_tickets_come_out_byte_for_byte(golden: dict[str, Any]) -> None:
    claims = Claims(**golden["claims"])
    issued_ms = claims.expires_ms - (RUN_MS if claims.use == "run" else ASK_MS)
    tickets = Tickets(lambda: bytes.fromhex(GOLDEN["private_key"]), lambda: issued_ms)
    asked = msgspec.structs.replace(claims, body_sha256="", expires_ms=0, rules_sha256=msgspec.UNSET)
    rules, body, signed = golden.get("rules_json", "").encode(), *map(bytes.fromhex, (golden["body"], golden["ticket"]))
    request = body[4 + len(rules) :] if rules else body
    assert tickets.permit(asked, request, rules) == len(signed).to_bytes(2) + signed + body


def test_what_is_permitted_travels_behind_its_ticket() -> None:
    tickets = Tickets(Vault(), Hands())
    issued = tickets.issue(CLAIMS, b"sealed")
    assert tickets.permit(CLAIMS, b"sealed") == len(issued).to_bytes(2, "big") + issued + b"sealed"


def test_a_ticket_serves_its_own_body_alone() -> None:
    issued = Tickets(Vault(), Hands()).issue(CLAIMS, b"sealed")
    with pytest.raises(TicketRefused):
        ticket.verify(issued, b"sealee", trusted(KEYS[0]), T0)


@pytest.mark.parametrize(("use", "lifetime_ms"), [("run", RUN_MS), ("check", ASK_MS), ("attest", ASK_MS)])
def test_a_ticket_ends_when_its_time_is_over(use: Use, lifetime_ms: int) -> None:
    issued = Tickets(Vault(), Hands()).issue(Claims(use), b"")
    assert ticket.verify(issued, b"", trusted(KEYS[0]), T0 + lifetime_ms - 1).use == use
    with pytest.raises(TicketRefused):
        ticket.verify(issued, b"", trusted(KEYS[0]), T0 + lifetime_ms)


def test_the_longest_names_fit_into_a_ticket() -> None:
    longest = Claims(
        "challenge", "a" * 40, "esdk", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-" + "0" * 32,
        "r" * 64, "p" * 64, "chat.completions", "openai", False, 10**9, rules_sha256="0" * 64,
    )  # fmt: skip
    assert len(Tickets(Vault(), Hands()).issue(longest, b"")) <= ticket.MOST_BYTES


# the key


def test_the_key_is_read_with_the_first_ticket_and_not_for_each() -> None:
    vault = Vault()
    tickets = Tickets(vault, Hands())
    assert vault.asked == 0
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: tickets.issue(CLAIMS, b""), range(16)))
    assert vault.asked == 1


def test_a_key_that_was_replaced_is_taken_up_without_a_redeployment() -> None:
    clock, vault = Hands(), Vault(KEYS[0])
    tickets = Tickets(vault, clock)
    tickets.issue(CLAIMS, b"")
    vault.key = KEYS[1]
    clock.now_ms += REREAD_MS - 1
    ticket.verify(tickets.issue(CLAIMS, b""), b"", trusted(KEYS[0]), clock())
    clock.now_ms += 1
    ticket.verify(tickets.issue(CLAIMS, b""), b"", trusted(KEYS[1]), clock())
    assert vault.asked == 2


def test_a_vault_that_fails_later_leaves_the_key_that_is_known() -> None:
    clock, vault = Hands(), Vault(KEYS[0])
    tickets = Tickets(vault, clock)
    tickets.issue(CLAIMS, b"")
    vault.key = None
    clock.now_ms += REREAD_MS
    for _ in range(3):
        ticket.verify(tickets.issue(CLAIMS, b""), b"", trusted(KEYS[0]), clock())
    assert vault.asked == 2, "it is not asked again for every ticket"


def test_without_a_key_nothing_is_permitted_until_there_is_one() -> None:
    vault = Vault(None)
    tickets = Tickets(vault, Hands())
    with pytest.raises(NoCapacity, match="not set up"):
        tickets.issue(CLAIMS, b"")
    vault.key = KEYS[0]
    ticket.verify(tickets.issue(CLAIMS, b""), b"", trusted(KEYS[0]), T0)


@pytest.mark.parametrize(
    "module", ["cryptography", "sealed", "joserfc", "chalicelib.identity.tokens", "chalicelib.egress"]
)
def test_a_gateway_that_gets_no_sealed_request_and_no_token_never_loads(module: str) -> None:
    """Cold starts are paid for by those who neither seal nor bring a token, too."""
    program = f"import sys, app; from chalicelib import wiring; wiring.path(); print({module!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
