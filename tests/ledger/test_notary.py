"""What is signed of a day, and when."""

import base64
import hashlib

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.ledger import Heads
from chalicelib.ledger.chain import DAY_MS, START, Link, day_of, start_ms
from chalicelib.ledger.head import MOST_BYTES, UNMARKED, ChainEnd, Head, SignedHead, parted, place, summary
from chalicelib.ledger.memory import MemoryHeads, MemoryLedger
from chalicelib.ledger.notary import CATCH_UP_DAYS, SETTLED_MS, CannotSign, Notary, due
from chalicelib.ledger.records import Kept
from chalicelib.ledger.store import DynamoHeads, DynamoLedger
from tests.ledger.arrange import DAY, T0, entry, kept
from tests.stores import Served, StoreName, fresh_tables

KEY = ec.derive_private_key(7, ec.SECP256R1())
OVER = start_ms(DAY) + DAY_MS + SETTLED_MS
AnyLedger = MemoryLedger | DynamoLedger


def sign(message: bytes) -> bytes:
    return KEY.sign(message, ec.ECDSA(SHA256()))


@pytest.fixture(params=["memory", "local", "ministack"])
def heads(request: pytest.FixtureRequest, stores: Served) -> MemoryHeads | DynamoHeads:
    if request.param == "memory":
        return MemoryHeads()
    name: StoreName = request.param
    return DynamoHeads(fresh_tables(stores.url(name)))


def all_of(heads: Heads, tenant: str = "acme") -> list[SignedHead]:
    found, cursor = heads.page(tenant, "0", "9", None, 1)
    while cursor is not None:
        more, cursor = heads.page(tenant, "0", "9", cursor, 1)
        found += more
    return list(found)


def test_a_day_that_is_over_is_signed_once(heads: Heads) -> None:
    ledger = MemoryLedger()
    for number in range(3):
        ledger.put_if_absent(entry(T0 + number))
    notary = Notary(ledger, heads, sign)
    assert notary.sign_due(["acme", "bolt"], OVER - 1) == 0
    assert notary.sign_due(["acme", "bolt"], OVER) == 1
    assert notary.sign_due(["acme", "bolt"], OVER + 1) == 0
    (signed,) = all_of(heads)
    last = kept(ledger)[-1]
    assert last.link is not None
    assert signed.head == Head(
        tenant="acme",
        day=DAY,
        part=1,
        parts=1,
        previous="",
        signed_s=OVER // 1_000,
        expires_s=T0 // 1_000 + 30 * 86_400,
        chains=(
            ChainEnd(last.link.chain, 3, last.link.hash, "".join(k.link.hash[:4] for k in kept(ledger) if k.link)),
        ),
    )
    assert heads.last("acme") == signed
    assert heads.last("bolt") is None


def test_what_is_signed_is_the_hash_of_the_text_under_our_domain(heads: Heads) -> None:
    ledger = MemoryLedger()
    ledger.put_if_absent(entry())
    Notary(ledger, heads, sign).sign_due(["acme"], OVER)
    (signed,) = all_of(heads)
    said = hashlib.sha256(b"cloister ledger head v1\n" + signed.text.encode()).digest()
    KEY.public_key().verify(base64.b64decode(signed.signature), said, ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(base64.b64decode(signed.signature), said + b" ", ec.ECDSA(SHA256()))


def test_where_links_are_missing_already_the_head_allows_that_retention_has_taken_them() -> None:
    ledger = MemoryLedger()
    for hours in (0, 1, 2):
        ledger.put_if_absent(entry(T0 + hours * 3_600_000))
    oldest, middle, newest = kept(ledger)
    first_s = T0 // 1_000 + 30 * 86_400
    for left, expires_s in (
        ([newest, middle, oldest], first_s),
        ([newest, middle], first_s + 3_600 - 86_400),
        ([newest, oldest], first_s - 86_400),
    ):
        found = summary(left)
        assert found is not None
        assert found.expires_s == expires_s


def test_each_head_names_the_one_before_it(heads: Heads) -> None:
    ledger = MemoryLedger()
    for day in (0, 2):
        ledger.put_if_absent(entry(T0 + day * DAY_MS))
    assert Notary(ledger, heads, sign).sign_due(["acme"], OVER + 2 * DAY_MS) == 2
    first, second = all_of(heads)
    assert (first.head.previous, second.head.previous) == ("", first.hash)
    assert (first.head.day, second.head.day) == (DAY, day_of(T0 + 2 * DAY_MS))


def test_days_are_caught_up_with_but_not_for_ever() -> None:
    week = due(None, OVER)
    assert (len(week), week[-1]) == (CATCH_UP_DAYS, DAY)
    assert due(_head(DAY, 1, 1), OVER) == []
    assert due(_head(DAY, 1, 2), OVER) == [DAY]
    assert due(_head(DAY, 1, 1), OVER + DAY_MS) == [day_of(T0 + DAY_MS)]
    assert due(_head("2025-01-01", 1, 1), OVER) == week


def test_a_run_that_was_cut_off_is_gone_on_with(heads: Heads) -> None:
    chains = tuple(ChainEnd(f"{DAY}.{number}", 1, START, "x" * MOST_BYTES) for number in range(2))
    begun = SignedHead(_text(Head("acme", DAY, 1, 2, "", 0, 0, chains[:1])), "")
    heads.put_if_absent("acme", place(DAY, 1), begun)
    ledger = MemoryLedger()
    ledger.put_if_absent(entry())
    Notary(ledger, heads, sign).sign_due(["acme"], OVER)
    assert all_of(heads) == [begun]  # its one part is there
    assert [len(part) for part in parted(chains)] == [1, 1]


def test_of_two_runs_at_once_one_signs() -> None:
    ledger, heads = MemoryLedger(), MemoryHeads()
    for day in (0, 1):
        ledger.put_if_absent(entry(T0 + day * DAY_MS))

    def sign_meanwhile(message: bytes) -> bytes:
        Notary(ledger, heads, sign).sign_due(["acme"], OVER + DAY_MS)
        return sign(message)

    assert Notary(ledger, heads, sign_meanwhile).sign_due(["acme"], OVER + DAY_MS) == 0
    first, second = all_of(heads)
    assert second.head.previous == first.hash


def test_a_key_that_cannot_sign_fails_the_run_after_all_tenants_were_tried() -> None:
    ledger, heads, tried = MemoryLedger(), MemoryHeads(), []
    for tenant in ("acme", "bolt"):
        ledger.put_if_absent(entry(tenant=tenant))

    def sign_the_second(message: bytes) -> bytes:
        tried.append(message)
        if len(tried) == 1:
            raise CannotSign("the key is disabled")
        return sign(message)

    with pytest.raises(CannotSign):
        Notary(ledger, heads, sign_the_second).sign_due(["acme", "bolt"], OVER)
    assert (all_of(heads), len(all_of(heads, "bolt"))) == ([], 1)


def test_a_link_that_is_missing_already_has_no_mark() -> None:
    entries = [Kept("0", "", 100_000, Link("c", seq, "", f"{seq}abcdefgh")) for seq in (1, 3)]
    found = summary([*entries, Kept("1", "", 1, None)])
    assert found is not None
    assert (found.expires_s, found.chains) == (13_600, (ChainEnd("c", 3, "3abcdefgh", f"1abc{UNMARKED}3abc"),))
    assert summary([Kept("1", "", 1, None)]) is None


def _head(day: str, part: int, parts: int) -> Head:
    return Head("acme", day, part, parts, "", 0, 0, ())


def _text(head: Head) -> str:
    return msgspec.json.encode(head).decode()
