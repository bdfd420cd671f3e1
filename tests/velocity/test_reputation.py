"""The operator's lists: heard of by every process in time, whatever size they have, and whoever changes them."""

import msgspec
import pytest

from chalicelib.documents import PLATFORM, Document, Documents
from chalicelib.refusal import Conflict, Forbidden, StoreUnavailable
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.tenancy.tenant import VelocityRule
from chalicelib.velocity.networks import MOST_ENTRIES, ListedNetwork
from chalicelib.velocity.reputation import HEAD, HEARD_MS, PAGE_BYTES, PAGES, SWEPT_MS, Reputation
from tests.small_deployments import Store, memory

NOW_MS = 1_795_000_000_000
BAD = NetworkSource("203.0.113.9")


class Asked:
    """Documents, and how often one was asked for."""

    def __init__(self, documents: Documents) -> None:
        self.times = 0
        self.broken = False
        self._documents = documents

    def __getattr__(self, name: str) -> object:
        return getattr(self._documents, name)

    def get(self, tenant: str, name: str) -> Document | None:
        self.times += 1
        if self.broken:
            raise StoreUnavailable("down")
        return self._documents.get(tenant, name)


def denies(reputation: Reputation, at_ms: int) -> bool:
    reputation.hear(at_ms)
    try:
        reputation.must_let_in(BAD, at_ms)
    except Forbidden:
        return True
    return False


def deny(reputation: Reputation, *networks: str, mark: str = "a", at_ms: int = NOW_MS) -> int:
    return reputation.put_entries([ListedNetwork(each, "seen") for each in networks], None, mark, at_ms)


def test_a_list_is_true_everywhere_within_the_time_that_is_said_and_so_is_its_end(store: Store) -> None:
    operator, gateway = Reputation(store.documents), Reputation(store.documents)
    assert not denies(gateway, NOW_MS)
    deny(operator, "203.0.113.0/24")
    assert [denies(gateway, NOW_MS + passed) for passed in (1, HEARD_MS - 1, HEARD_MS)] == [False, False, True]
    deny(operator, mark="b")
    assert not denies(gateway, NOW_MS + 2 * HEARD_MS)


def test_ten_thousand_entries_stand_in_pages_that_are_replaced(store: Store) -> None:
    reputation, reason = Reputation(store.documents), "\u00e9" * 200
    many = [ListedNetwork(f"10.{n >> 8}.{n & 255}.0/24", reason) for n in range(MOST_ENTRIES)]
    reputation.put_entries(many, None, "a", NOW_MS)
    assert list(reputation.entries()[0]) == many
    pages = list(store.documents.under(PLATFORM, PAGES))
    assert all(len(page.text.encode()) <= PAGE_BYTES + 2 for page in pages)
    deny(reputation, "203.0.113.0/24", mark="b")
    assert len(list(store.documents.under(PLATFORM, PAGES))) == 1


def test_who_has_read_an_older_version_replaces_nothing(store: Store) -> None:
    reputation = Reputation(store.documents)
    version = deny(reputation, "203.0.113.0/24")
    deny(reputation, "192.0.2.0/24", mark="b")
    with pytest.raises(Conflict):
        reputation.put_entries([], version, "c", NOW_MS)
    assert [entry.network for entry in reputation.entries()[0]] == ["192.0.2.0/24"]


def test_pages_that_a_failed_change_has_left_are_swept_an_hour_later() -> None:
    documents = memory().documents
    documents.put(Document(PLATFORM, f"{PAGES}{NOW_MS:014}-lost#0", "[]"))
    reputation = Reputation(documents)
    deny(reputation, "192.0.2.0/24", at_ms=NOW_MS + SWEPT_MS)
    assert len(list(documents.under(PLATFORM, PAGES))) == 2
    deny(reputation, "192.0.2.0/24", mark="b", at_ms=NOW_MS + SWEPT_MS + 1)
    assert len(list(documents.under(PLATFORM, PAGES))) == 1


def test_a_process_asks_once_in_a_while_and_for_the_head_alone() -> None:
    asked = Asked(memory().documents)
    reputation = Reputation(asked)  # type: ignore[arg-type]
    deny(reputation, "203.0.113.0/24")
    assert denies(reputation, NOW_MS)
    asked.times = 0
    assert all(denies(reputation, NOW_MS + n) for n in range(100))
    assert asked.times == 0
    assert denies(reputation, NOW_MS + HEARD_MS)
    assert asked.times == 1


def test_what_was_known_holds_while_the_store_does_not_answer_and_it_is_not_asked_at_every_request() -> None:
    asked = Asked(memory().documents)
    reputation = Reputation(asked)  # type: ignore[arg-type]
    deny(reputation, "203.0.113.0/24")
    assert denies(reputation, NOW_MS)
    asked.broken, asked.times = True, 0
    assert not reputation.hear(NOW_MS + HEARD_MS)
    assert all(denies(reputation, NOW_MS + HEARD_MS + n) for n in range(100))
    assert asked.times == 1


def test_rules_and_lists_are_changed_apart(store: Store) -> None:
    reputation = Reputation(store.documents)
    deny(reputation, "203.0.113.0/24")
    reputation.put_rules([VelocityRule("tenants", 5)])
    deny(reputation, "192.0.2.0/24", mark="b")
    reputation.throttle(VelocityRule("tenants", 5))
    reputation.hear(NOW_MS)
    assert reputation.known.rules == (VelocityRule("tenants", 5, action="throttle"),)
    assert not denies(reputation, NOW_MS)
    head = store.documents.get(PLATFORM, HEAD)
    assert head is not None and len(msgspec.json.decode(head.text)["pages"]) == 1
