"""What is kept of a tenant is read by that tenant alone, as it was, until its time is over or it is deleted."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from chalicelib.contents import Contents
from chalicelib.contents.data_keys import DOCUMENT, HELD_MS, MOST_HELD, DataKeys, KeyService, NoKey, Wrapped
from chalicelib.contents.memory import MemoryKeys, MemoryPieces
from chalicelib.contents.pieces import PIECE_BYTES, Piece, Pieces, Taken
from chalicelib.contents.store import DynamoPieces
from chalicelib.documents import Document
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.refusal import Conflict, StoreUnavailable
from tests.small_deployments import T0, Chance, Hands
from tests.stores import Served, fresh_tables, reach_tables, sent

DAY_MS = 86_400_000
LATER = T0 + DAY_MS
CANARY = b"a canary that nobody may hear"
FIELDS = {"asked": CANARY, "response": b"", "large": bytes(range(256)) * (2 * PIECE_BYTES // 256)}


class Counted:
    """A key service that counts, and can be told to refuse."""

    def __init__(self, service: KeyService) -> None:
        self._service = service
        self.asked: list[str] = []
        self.refuses = False

    def make(self, tenant: str) -> tuple[bytes, Wrapped]:
        return self._service.make(self._noted("make", tenant))

    def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        return self._service.unwrap(self._noted("unwrap", tenant), wrapped)

    def _noted(self, what: str, tenant: str) -> str:
        self.asked.append(f"{what} {tenant}")
        if self.refuses:
            raise NoKey("KMS: AccessDeniedException")
        return tenant


class House:
    """Contents over these pieces, and as many sandboxes as it is asked for."""

    def __init__(self, pieces: Pieces, service: KeyService | None = None) -> None:
        self.pieces = pieces
        self.documents = MemoryDocuments()
        self.service = Counted(service or MemoryKeys(Chance()))
        self.clock = Hands()
        self.chance = Chance()

    def sandbox(self) -> Contents:
        keys = DataKeys(self.documents, self.service, self.clock)
        return Contents(self.pieces, keys, self.clock, self.chance)

    def kept(self, tenant: str = "acme", content: str = "resp_1", fields: Any = FIELDS) -> Contents:
        contents = self.sandbox()
        contents.claim(tenant, content, LATER)
        contents.keep(tenant, content, fields, LATER)
        return contents


@pytest.fixture
def house(pieces: Pieces) -> House:
    return House(pieces)


def test_what_is_kept_is_read_as_it_was_in_every_sandbox(house: House) -> None:
    contents = house.kept()
    assert contents.read("acme", "resp_1") == house.sandbox().read("acme", "resp_1") == FIELDS


def test_nothing_is_read_of_what_is_not_there(house: House) -> None:
    contents = house.kept()
    for tenant, content in (("acme", "resp_"), ("acme", "resp_11"), ("bolt", "resp_1"), ("acme", "1"), ("acme", "#")):
        assert contents.read(tenant, content) is None
        assert not contents.forget(tenant, content)
    assert contents.read("acme", "resp_1") == FIELDS


def test_a_content_whose_name_begins_as_anothers_is_another(house: House) -> None:
    house.kept(content="resp_1", fields={"a": b"1"})
    contents = house.kept(content="resp_12", fields={"a": b"12"})
    assert contents.read("acme", "resp_1") == {"a": b"1"}
    assert contents.forget("acme", "resp_1")
    assert contents.read("acme", "resp_12") == {"a": b"12"}


def test_what_is_claimed_is_not_there_before_it_is_kept(house: House) -> None:
    contents = house.sandbox()
    contents.claim("acme", "resp_1", LATER)
    assert contents.read("acme", "resp_1") is None


def test_an_id_is_claimed_once_for_each_tenant(house: House) -> None:
    contents = house.kept()
    with pytest.raises(Conflict):
        house.sandbox().claim("acme", "resp_1", LATER)
    contents.claim("bolt", "resp_1", LATER)
    assert contents.read("acme", "resp_1") == FIELDS


def test_of_many_who_claim_an_id_at_once_one_has_it(house: House) -> None:
    contents = house.sandbox()

    def claim(_: int) -> bool:
        try:
            contents.claim("acme", "resp_1", LATER)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(claim, range(16))) == 1


def test_what_is_past_its_time_is_gone_though_the_store_still_has_it(house: House) -> None:
    contents = house.kept()
    house.clock.now_ms = LATER - 1
    assert contents.read("acme", "resp_1") == FIELDS
    house.clock.now_ms = LATER
    assert contents.read("acme", "resp_1") is None
    assert not contents.forget("acme", "resp_1")
    contents.claim("acme", "resp_1", LATER + DAY_MS)  # its id is free


def test_what_is_deleted_leaves_no_piece(house: House) -> None:
    contents = house.kept()
    assert len(house.pieces.of("acme", "resp_1")) == 5
    assert contents.forget("acme", "resp_1")
    assert house.pieces.of("acme", "resp_1") == []
    assert contents.read("acme", "resp_1") is None
    assert not contents.forget("acme", "resp_1")


def test_a_deletion_that_was_interrupted_is_completed_by_the_next(house: House) -> None:
    contents = house.kept()
    house.pieces.delete(house.pieces.of("acme", "resp_1")[1])
    assert contents.read("acme", "resp_1") is None
    assert contents.forget("acme", "resp_1")
    assert house.pieces.of("acme", "resp_1") == []


def test_no_plaintext_is_in_the_store_and_the_same_twice_is_not_the_same(house: House) -> None:
    house.kept()
    house.kept(content="resp_2")
    stored = [piece.data for name in ("resp_1", "resp_2") for piece in house.pieces.of("acme", name) if piece.name]
    assert not any(CANARY in data for data in stored)
    assert len(set(stored)) == len(stored) == 8


def test_every_piece_fits_an_item(house: House) -> None:
    house.kept()
    assert max(len(piece.data) for piece in house.pieces.of("acme", "resp_1")) < 400_000 - 2_000


def moved(house: House, change: Any) -> Any:
    """What is read once one piece is another."""
    contents = house.kept(content="resp_1", fields={"a": b"A" * (PIECE_BYTES + 1), "b": b"B" * (PIECE_BYTES + 1)})
    house.kept(content="resp_2", fields={"a": b"C" * (PIECE_BYTES + 1)})
    house.kept("bolt", "resp_1", {"a": b"D" * (PIECE_BYTES + 1)})
    found = {(tenant, name): {piece.name: piece for piece in house.pieces.of(tenant, name)}
             for tenant in ("acme", "bolt") for name in ("resp_1", "resp_2")}  # fmt: skip
    house.pieces.put(change(found))
    return contents.read("acme", "resp_1")


def _put(found: Any, name: str, other: Piece) -> Piece:
    replaced: Piece = msgspec.structs.replace(found["acme", "resp_1"][name], data=other.data)
    return replaced


@pytest.mark.parametrize(
    "change",
    [
        lambda found: _put(found, "a#000", found["acme", "resp_1"]["a#001"]),
        lambda found: _put(found, "a#000", found["acme", "resp_1"]["b#000"]),
        lambda found: _put(found, "a#000", found["acme", "resp_2"]["a#000"]),
        lambda found: _put(found, "a#000", found["bolt", "resp_1"]["a#000"]),
        lambda found: msgspec.structs.replace(found["acme", "resp_1"]["a#000"], data=b""),
        lambda found: msgspec.structs.replace(found["acme", "resp_1"]["a#000"], data=bytes(40)),
        lambda found: msgspec.structs.replace(found["acme", "resp_1"][""], data=b'{"pieces":{"a":1,"b":2}}'),
        lambda found: msgspec.structs.replace(found["acme", "resp_1"][""], data=b'{"pieces":{"a":3,"b":2}}'),
    ],
    ids=["another place", "another field", "another content", "another tenant", "nothing", "noise", "fewer", "more"],
)
def test_a_piece_that_is_not_the_one_does_not_open(change: Any) -> None:
    assert moved(House(MemoryPieces()), change) is None


def test_a_claim_and_a_write_of_the_same_name_are_told_apart(pieces: Pieces) -> None:
    head = Piece("acme", "resp_1", "", b"{}", T0 // 1_000 + 10)
    pieces.claim(head, T0 // 1_000)
    with pytest.raises(Taken):
        pieces.claim(head, T0 // 1_000)
    pieces.put(msgspec.structs.replace(head, data=b"{ }"))
    assert pieces.of("acme", "resp_1") == [msgspec.structs.replace(head, data=b"{ }")]
    pieces.claim(head, T0 // 1_000 + 10)
    pieces.delete(head)
    pieces.delete(head)
    assert pieces.of("acme", "resp_1") == []


# Keys


def test_a_tenants_key_is_made_once_and_is_no_other_tenants(service: KeyService) -> None:
    house = House(MemoryPieces(), service)
    first, second = house.sandbox(), house.sandbox()
    house.kept()
    assert second.read("acme", "resp_1") == FIELDS
    house.kept("bolt")
    assert first.read("bolt", "resp_1") == FIELDS
    assert [each for each in house.service.asked if each.startswith("make")] == ["make acme", "make bolt"]
    acme, bolt = (house.documents.get(tenant, DOCUMENT) for tenant in ("acme", "bolt"))
    assert acme is not None and bolt is not None
    theirs = msgspec.json.decode(bolt.text, type=Wrapped)
    with pytest.raises(NoKey):
        service.unwrap("acme", theirs)
    key = service.unwrap("bolt", theirs)
    assert len(key) == 32
    assert key not in bolt.text.encode() + acme.text.encode()


def test_of_two_sandboxes_that_make_a_key_at_once_one_wins(service: KeyService) -> None:
    house = House(MemoryPieces(), service)
    _, wrapped = service.make("acme")

    class Late(MemoryDocuments):
        """Somebody else's key is there as soon as the first look has found none."""

        def get(self, tenant: str, name: str) -> Document | None:
            found = super().get(tenant, name)
            if found is None:
                self.put(Document(tenant, name, msgspec.json.encode(wrapped).decode()))
            return found

    house.documents = Late()
    contents = house.kept()
    assert contents.read("acme", "resp_1") == house.sandbox().read("acme", "resp_1") == FIELDS


def test_a_key_is_asked_for_again_only_after_a_while_and_then_a_refusal_counts() -> None:
    house = House(MemoryPieces())
    contents = house.kept()
    for _ in range(5):
        contents.read("acme", "resp_1")
    assert house.service.asked == ["make acme"]
    house.service.refuses = True
    assert contents.read("acme", "resp_1") == FIELDS
    house.clock.now_ms += HELD_MS
    with pytest.raises(StoreUnavailable):
        contents.read("acme", "resp_1")
    with pytest.raises(StoreUnavailable):
        contents.claim("acme", "resp_2", LATER)
    assert house.pieces.of("acme", "resp_2") == []


def test_a_sandbox_holds_a_bounded_number_of_keys() -> None:
    house = House(MemoryPieces())
    contents = house.sandbox()
    for number in range(MOST_HELD + 1):
        contents.claim(f"t{number}", "resp_1", LATER)
    contents.claim("t0", "resp_2", LATER)
    assert house.service.asked[-1] == "unwrap t0"
    contents.claim(f"t{MOST_HELD}", "resp_2", LATER)
    assert house.service.asked[-1] == "unwrap t0"


def test_a_store_that_is_down_is_said_to_be() -> None:
    contents = House(DynamoPieces(reach_tables("http://127.0.0.1:9", "none", 100))).sandbox()
    for ask in (
        lambda: contents.claim("acme", "resp_1", LATER),
        lambda: contents.keep("acme", "resp_1", FIELDS, LATER),
        lambda: contents.read("acme", "resp_1"),
        lambda: contents.forget("acme", "resp_1"),
    ):
        with pytest.raises(StoreUnavailable):
            ask()


def test_dynamodb_is_called_as_often_as_the_docs_say(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    contents = House(DynamoPieces(tables)).sandbox()
    calls = sent(tables)
    contents.claim("acme", "resp_1", LATER)
    assert calls == ["PutItem"]
    contents.keep("acme", "resp_1", {"about": b"", "asked": b"{}", "response": bytes(PIECE_BYTES + 1)}, LATER)
    assert calls == ["PutItem"] * 6
    contents.read("acme", "resp_1")
    contents.forget("acme", "resp_1")
    assert calls[6:] == ["Query", "Query", *["DeleteItem"] * 5]


def test_a_content_of_many_megabytes_is_read_page_by_page(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    house = House(DynamoPieces(tables))
    large = {"asked": bytes(5_000_000), "response": bytes(1_000_000)}
    contents = house.kept(fields=large)
    calls = sent(tables)
    assert contents.read("acme", "resp_1") == large
    assert len(calls) > 5
    assert contents.forget("acme", "resp_1")
    assert house.pieces.of("acme", "resp_1") == []
