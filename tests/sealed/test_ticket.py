"""A ticket permits exactly what its gateway signed, for a while."""

import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealed import ticket
from sealed.refusal import TicketRefused
from tests.examples import every

NOW_MS = 1_800_000_000_000
BODY = b"the sealed request"
GATEWAY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {ticket.kid_of(GATEWAY.public_key()): GATEWAY.public_key()}


def claims(**changes: Any) -> ticket.Claims:
    said = ticket.Claims(
        use="run",
        tenant="acme",
        mode="hpke",
        key_arn="",
        request_id="r-1",
        pool="demo",
        operation="chat.completions",
        surface="openai",
        stream=False,
        ceiling_tokens=256,
        body_sha256=hashlib.sha256(BODY).hexdigest(),
        expires_ms=NOW_MS + 120_000,
    )
    return msgspec.structs.replace(said, **changes)


def forged(said: bytes, key: Ed25519PrivateKey = GATEWAY) -> bytes:
    """A ticket with a good signature under whatever it says."""
    return ticket.kid_of(key.public_key()) + key.sign(b"cloister ticket v1\0" + said) + said


def test_a_ticket_says_what_was_signed() -> None:
    signed = ticket.sign(claims(), GATEWAY)
    assert ticket.verify(signed, BODY, KEYS, NOW_MS) == claims()
    assert ticket.read(signed) == claims()


def test_a_flipped_bit_anywhere_is_refused() -> None:
    signed = ticket.sign(claims(), GATEWAY)
    for at in every(range(len(signed))):
        for bit in range(8):
            changed = bytearray(signed)
            changed[at] ^= 1 << bit
            with pytest.raises(TicketRefused):
                ticket.verify(bytes(changed), BODY, KEYS, NOW_MS)


def test_a_ticket_cut_anywhere_is_refused() -> None:
    signed = ticket.sign(claims(), GATEWAY)
    for end in range(len(signed)):
        with pytest.raises(TicketRefused):
            ticket.verify(signed[:end], BODY, KEYS, NOW_MS)


def test_a_ticket_for_another_body_is_refused() -> None:
    with pytest.raises(TicketRefused, match="another body"):
        ticket.verify(ticket.sign(claims(), GATEWAY), BODY + b".", KEYS, NOW_MS)


@pytest.mark.parametrize(
    ("expires_ms", "refusal"),
    [(NOW_MS, "expired"), (NOW_MS - 1, "expired"), (NOW_MS + ticket.MOST_AHEAD_MS + 1, "too far ahead")],
)
def test_a_ticket_out_of_its_time_is_refused(expires_ms: int, refusal: str) -> None:
    with pytest.raises(TicketRefused, match=refusal):
        ticket.verify(ticket.sign(claims(expires_ms=expires_ms), GATEWAY), BODY, KEYS, NOW_MS)


def test_a_ticket_of_an_unknown_gateway_is_refused() -> None:
    with pytest.raises(TicketRefused, match="not trusted"):
        ticket.verify(ticket.sign(claims(), Ed25519PrivateKey.generate()), BODY, KEYS, NOW_MS)


def test_a_ticket_that_names_a_trusted_key_and_is_signed_by_another_is_refused() -> None:
    stranger = ticket.sign(claims(), Ed25519PrivateKey.generate())
    with pytest.raises(TicketRefused, match="signature"):
        ticket.verify(next(iter(KEYS)) + stranger[ticket.KID_BYTES :], BODY, KEYS, NOW_MS)


@pytest.mark.parametrize(
    "changes",
    [{"use": "anything"}, {"tenant": None}, {"stream": 1}, {"ceiling_tokens": "256"}, {"more": 1}, {"mode": "clear"}],
)
def test_claims_of_another_shape_are_refused_though_signed(changes: dict[str, Any]) -> None:
    said = msgspec.json.encode({**msgspec.to_builtins(claims()), **changes})
    with pytest.raises(TicketRefused, match="claims"):
        ticket.verify(forged(said), BODY, KEYS, NOW_MS)


@pytest.mark.parametrize("name", [name for name in ticket.Claims.__struct_fields__ if name != "rules_sha256"])
def test_a_claim_left_out_is_refused(name: str) -> None:
    said = {key: value for key, value in msgspec.to_builtins(claims()).items() if key != name}
    with pytest.raises(TicketRefused, match="claims"):
        ticket.verify(forged(msgspec.json.encode(said)), BODY, KEYS, NOW_MS)


RULES = b'{"rules":{}}'


def ruled(rules: bytes = RULES) -> bytes:
    return ticket.sign(claims(rules_sha256=hashlib.sha256(rules).hexdigest()), GATEWAY)


def test_the_rules_that_a_ticket_names_go_with_it() -> None:
    body = ticket.with_rules(RULES, BODY)
    said = ticket.verify(ruled(), body, KEYS, NOW_MS)
    assert ticket.parts(said, body) == (RULES, BODY)
    assert ticket.parts(claims(), BODY) == (b"", BODY)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\0\0", BODY, b"\0\0\0\0" + BODY, ticket.with_rules(RULES, b"")),
        *(ticket.with_rules(RULES[::-1], BODY), ticket.with_rules(RULES + b" ", BODY), RULES + BODY),
        *(b"\xff\xff\xff\xff" + RULES + BODY, ticket.with_rules(RULES, BODY)[:-1]),
    ],
)
def test_other_rules_or_none_in_their_place_are_refused(body: bytes) -> None:
    with pytest.raises(TicketRefused):
        ticket.verify(ruled(), body, KEYS, NOW_MS)


def test_rules_that_no_ticket_names_are_no_part_of_a_request() -> None:
    with pytest.raises(TicketRefused, match="another body"):
        ticket.verify(ticket.sign(claims(), GATEWAY), ticket.with_rules(RULES, BODY), KEYS, NOW_MS)


def test_rules_are_bounded_though_signed() -> None:
    most = b" " * ticket.MOST_RULES_BYTES
    ticket.verify(ruled(most), ticket.with_rules(most, BODY), KEYS, NOW_MS)
    with pytest.raises(TicketRefused, match="do not go with it"):
        ticket.verify(ruled(most + b" "), ticket.with_rules(most + b" ", BODY), KEYS, NOW_MS)


def test_an_oversize_ticket_is_refused_unread() -> None:
    huge = ticket.sign(claims(tenant="a" * ticket.MOST_BYTES), GATEWAY)
    with pytest.raises(TicketRefused, match="bytes"):
        ticket.verify(huge, BODY, KEYS, NOW_MS)
    with pytest.raises(TicketRefused, match="bytes"):
        ticket.read(huge)


def test_no_refusal_quotes_the_ticket() -> None:
    said = msgspec.json.encode({**msgspec.to_builtins(claims()), "tenant": {"secret": "value"}})
    with pytest.raises(TicketRefused) as refusal:
        ticket.read(forged(said))
    assert "secret" not in refusal.value.text
    assert refusal.value.__cause__ is None
