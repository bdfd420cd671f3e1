"""The stored report: read seldom, kept in a partition of its own, and never said to know what it does not."""

import threading

import pytest

from chalicelib.documents import Changed, Document
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.placement.report import GRACE_MS, REPORTS, Report, Reports, standing, summary
from chalicelib.pool import Capacity
from chalicelib.refusal import StoreUnavailable
from tests.patience import PATIENCE_S, until

REGION = "eu-west-1"


class Counted(MemoryDocuments):
    """Counts what is read, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.away = False

    def get(self, tenant: str, name: str) -> Document | None:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("away")
        return super().get(tenant, name)


class World:
    def __init__(self) -> None:
        self.now_ms = 0
        self.documents = Counted()
        self.reports = Reports(self.documents, REGION, lambda: self.now_ms, max_age_ms=2_000, patience_s=PATIENCE_S)


def report(answering: int = 1, failing: int = 0, not_asked: int = 0) -> Report:
    return Report(0, answering, failing, not_asked, total=4, available=4, queued=0)


def test_however_many_ask_the_store_is_read_once_in_so_long() -> None:
    world = World()
    assert [world.reports.latest() for _ in range(50)] == [None] * 50
    world.reports.keep(report())
    before = world.documents.reads
    world.now_ms = 2_000
    assert world.reports.latest() is None
    world.now_ms = 2_001
    assert [world.reports.latest() for _ in range(50)] == [report()] * 50
    assert world.documents.reads == before + 1


def test_a_store_that_is_away_is_not_asked_by_everybody_and_is_found_again() -> None:
    world = World()
    world.documents.away = True
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            world.reports.latest()
    assert world.documents.reads == 1
    world.documents.away = False
    world.now_ms = 2_001
    assert world.reports.latest() is None


class Slow(Counted):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def get(self, tenant: str, name: str) -> Document | None:
        found = super().get(tenant, name)
        assert self.let.wait(PATIENCE_S)
        return found


def test_nobody_waits_for_a_store_that_dawdles_and_all_have_what_it_said_before() -> None:
    documents, now_ms = Slow(), [0]
    reports = Reports(documents, REGION, lambda: now_ms[0], max_age_ms=2_000, patience_s=0.01)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            reports.latest()
    assert documents.reads == 1
    documents.let.set()
    until(lambda: said(reports) is None)
    documents.let.clear()
    now_ms[0] = 2_001
    assert [reports.latest() for _ in range(3)] == [None] * 3
    assert documents.reads == 2
    now_ms[0] = GRACE_MS + 1
    with pytest.raises(StoreUnavailable):
        reports.latest()
    documents.let.set()


def said(reports: Reports) -> Report | StoreUnavailable | None:
    try:
        return reports.latest()
    except StoreUnavailable as fault:
        return fault


def test_the_newest_report_takes_the_place_of_the_one_before() -> None:
    world = World()
    world.reports.keep(report())
    world.reports.keep(report(failing=1))
    assert world.reports.latest() == report(failing=1)


def test_of_two_that_asked_at_once_one_is_kept() -> None:
    class Busy(MemoryDocuments):
        def put(self, document: Document) -> None:
            raise Changed

    Reports(Busy(), REGION, lambda: 0, max_age_ms=1).keep(report())


def test_a_region_reads_its_own_report() -> None:
    world = World()
    world.reports.keep(report())
    elsewhere = Reports(world.documents, "us-east-1", lambda: 0, max_age_ms=1, patience_s=PATIENCE_S)
    assert elsewhere.latest() is None
    assert [held.name for held in world.documents.under(REPORTS, "")] == [REGION]


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (report(), "healthy"),
        (report(not_asked=3), "healthy"),
        (report(failing=1), "degraded"),
        (report(answering=0, failing=1), "unhealthy"),
        (report(answering=0, failing=1, not_asked=1), "degraded"),
        (report(answering=0, not_asked=1), "unknown"),
        (report(answering=0), "unhealthy"),
    ],
)
def test_nothing_unknown_is_called_healthy_nor_unhealthy(found: Report, status: str) -> None:
    assert standing(found, 300_000) == status
    assert standing(found, 300_001) == standing(None, 0) == "unknown"


def test_a_report_counts_instances_once_and_names_nobody() -> None:
    said = {"a": Capacity(4, 1, 2, "i-1"), "b": Capacity(4, 1, 2, "i-1"), "c": Capacity(2, 5, 0), "d": None}
    assert summary(said, 2, 7) == Report(7, answering=2, failing=1, not_asked=2, total=6, available=3, queued=2)
