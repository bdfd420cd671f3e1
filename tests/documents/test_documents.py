"""What a document store promises, asked of every implementation."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.documents import Changed, Document, Documents
from chalicelib.documents.store import DynamoDocuments
from chalicelib.refusal import StoreUnavailable
from tests.stores import reach_tables


def test_a_document_is_read_as_it_was_written(documents: Documents) -> None:
    documents.put(Document("acme", "tenant", '{"name":"Ä\\u0000"}'))
    assert documents.get("acme", "tenant") == Document("acme", "tenant", '{"name":"Ä\\u0000"}', version=1)


def test_what_is_not_there_is_none(documents: Documents) -> None:
    documents.put(Document("acme", "tenant", "{}"))
    assert documents.get("acme", "key#1") is None
    assert documents.get("bolt", "tenant") is None


def test_a_second_creation_is_refused(documents: Documents) -> None:
    documents.put(Document("acme", "tenant", "first"))
    with pytest.raises(Changed):
        documents.put(Document("acme", "tenant", "second"))
    held = documents.get("acme", "tenant")
    assert held is not None and held.text == "first"


def test_a_write_over_a_version_that_was_not_read_is_refused(documents: Documents) -> None:
    documents.put(Document("acme", "tenant", "first"))
    documents.put(Document("acme", "tenant", "second", version=1))
    with pytest.raises(Changed):
        documents.put(Document("acme", "tenant", "lost", version=1))
    assert documents.get("acme", "tenant") == Document("acme", "tenant", "second", version=2)


def test_a_removal_of_a_version_that_was_not_read_is_refused(documents: Documents) -> None:
    documents.put(Document("acme", "tenant", "first"))
    documents.put(Document("acme", "tenant", "second", version=1))
    with pytest.raises(Changed):
        documents.delete(Document("acme", "tenant", "first", version=1))
    documents.delete(Document("acme", "tenant", "second", version=2))
    assert documents.get("acme", "tenant") is None


def test_a_change_of_what_was_removed_meanwhile_is_refused(documents: Documents) -> None:
    documents.put(Document("acme", "key#1", "first"))
    documents.delete(Document("acme", "key#1", "first", version=1))
    with pytest.raises(Changed):
        documents.put(Document("acme", "key#1", "second", version=1))
    with pytest.raises(Changed):
        documents.delete(Document("acme", "key#1", "first", version=1))


def test_of_many_writers_at_once_exactly_one_wins(documents: Documents) -> None:
    documents.put(Document("acme", "tenant", "first"))

    def write(writer: int) -> bool:
        try:
            documents.put(Document("acme", "tenant", f"writer {writer}", version=1))
        except Changed:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(write, range(16)))
    assert won.count(True) == 1
    assert documents.get("acme", "tenant") == Document("acme", "tenant", f"writer {won.index(True)}", version=2)


def test_listing_keeps_to_the_tenant_and_the_prefix(documents: Documents) -> None:
    for tenant, name in [("acme", "key#2"), ("acme", "key#1"), ("acme", "kez"), ("acme", "tenant"), ("acmf", "key#3")]:
        documents.put(Document(tenant, name, "{}"))
    assert [(held.tenant, held.name) for held in documents.under("acme", "key#")] == [
        ("acme", "key#1"),
        ("acme", "key#2"),
    ]


def test_tenants_are_found_among_everything_else(documents: Documents) -> None:
    big = "x" * 50_000  # more than one page of DynamoDB's
    for tenant in ("acme", "bolt", "core"):
        documents.put(Document(tenant, "tenant", tenant))
        for number in range(10):
            documents.put(Document(tenant, f"key#{number}", big))
    assert sorted(held.text for held in documents.tenants()) == ["acme", "bolt", "core"]


def test_a_store_that_does_not_answer_is_unavailable_and_never_empty() -> None:
    nowhere = DynamoDocuments(reach_tables("http://127.0.0.1:9", "nowhere", deadline_ms=100))
    document = Document("acme", "tenant", "{}")
    for act in (
        lambda: nowhere.get("acme", "tenant"),
        lambda: nowhere.put(document),
        lambda: nowhere.delete(document),
        lambda: nowhere.under("acme", "key#"),
        lambda: nowhere.tenants(),
    ):
        with pytest.raises(StoreUnavailable):
            act()
