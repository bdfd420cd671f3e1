"""However many processes take sign-ins, an address and an account have no more of them than they may."""

import threading
from itertools import count

import pytest

from chalicelib.passwords.attempts import (
    OF_A_KNOWN_PLACE,
    OF_AN_ACCOUNT,
    OF_AN_ADDRESS,
    WINDOW_MS,
    Attempts,
    Counter,
    has_signed_in,
    must_be_few,
)
from chalicelib.passwords.memory import MemoryAttempts
from chalicelib.passwords.store import DynamoAttempts
from chalicelib.refusal import RateLimited
from tests.stores import Served, StoreName, fresh_tables

T0 = 1_795_000_000_000
ENDS = (T0 // WINDOW_MS + 1) * WINDOW_MS


@pytest.fixture(params=["memory", "local", "ministack"])
def attempts(request: pytest.FixtureRequest, stores: Served) -> Attempts:
    if request.param == "memory":
        return MemoryAttempts()
    name: StoreName = request.param
    return DynamoAttempts(fresh_tables(stores.url(name)))


def taken(attempts: Attempts, address: str, mail: str | None, now_ms: int = T0) -> bool:
    try:
        must_be_few(attempts, address, mail, now_ms)
    except RateLimited as refusal:
        assert refusal.retry_in_ms == ENDS - now_ms
        return False
    return True


def test_processes_at_once_take_exactly_as_many_as_there_may_be(attempts: Attempts) -> None:
    counter = Counter("account#x#1", 7, ENDS)
    got: list[int] = []

    def take() -> None:
        got.extend(attempts.take(counter) for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [0] * 23 + [*range(1, 8)]


def test_an_account_has_its_attempts_from_wherever_they_come_and_however_it_is_written(attempts: Attempts) -> None:
    mails = ("Ada@acme.example", "ada@ACME.example")
    got = [taken(attempts, f"192.0.2.{number}", mails[number % 2]) for number in range(OF_AN_ACCOUNT + 2)]
    assert got == [True] * OF_AN_ACCOUNT + [False] * 2
    assert taken(attempts, "192.0.2.1", "bob@acme.example")


def test_strangers_use_up_no_attempts_of_whoever_has_signed_in_before_where_they_are(attempts: Attempts) -> None:
    has_signed_in(attempts, "192.0.2.1", "ada@acme.example", T0)
    while taken(attempts, "198.51.100.7", "ada@acme.example"):
        pass
    assert must_be_few(attempts, "192.0.2.1", "Ada@acme.example", T0) == OF_AN_ACCOUNT + 1
    assert not taken(attempts, "192.0.2.2", "ada@acme.example")
    assert not taken(attempts, "198.51.100.7", "ada@acme.example")
    got = [taken(attempts, "192.0.2.1", "ada@acme.example") for _ in range(OF_A_KNOWN_PLACE)]
    assert got == [True] * (OF_A_KNOWN_PLACE - 1) + [False], "and there, too, they have an end"
    while taken(attempts, "198.51.100.7", "bob@acme.example"):
        pass
    assert not taken(attempts, "192.0.2.1", "bob@acme.example"), "who is another account"


def test_an_address_has_its_attempts_for_whichever_account(attempts: Attempts) -> None:
    got = [taken(attempts, "192.0.2.7", f"m{number}@acme.example") for number in range(OF_AN_ADDRESS + 1)]
    assert got == [True] * OF_AN_ADDRESS + [False]
    assert not taken(attempts, "192.0.2.7", None)
    assert taken(attempts, "192.0.2.8", None)


def test_a_network_of_ipv6_is_one_address_and_a_mapped_address_is_itself() -> None:
    attempts, hosts = MemoryAttempts(), count(1)
    assert all(taken(attempts, f"2001:db8:1:2::{next(hosts):x}", None) for _ in range(OF_AN_ADDRESS))
    assert not taken(attempts, f"2001:db8:1:2::{next(hosts):x}", None)
    assert taken(attempts, "2001:db8:1:3::1", None)
    assert all(taken(attempts, "::ffff:192.0.2.1", None) for _ in range(OF_AN_ADDRESS))
    assert taken(attempts, "::ffff:192.0.2.2", None)


def test_the_next_window_begins_anew(attempts: Attempts) -> None:
    while taken(attempts, "192.0.2.7", "ada@acme.example"):
        pass
    must_be_few(attempts, "192.0.2.7", "ada@acme.example", ENDS)


def test_no_address_and_no_mail_stands_in_the_store() -> None:
    names: list[str] = []

    class Noting(MemoryAttempts):
        def take(self, counter: Counter) -> int:
            names.append(counter.name)
            return super().take(counter)

    must_be_few(Noting(), "192.0.2.7", "ada@acme.example", T0)
    has_signed_in(Noting(), "192.0.2.7", "ada@acme.example", T0)
    assert len(names) == 3 and not any(said in name for name in names for said in ("ada", "192.0.2.7"))
