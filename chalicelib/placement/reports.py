"""What operators hear of targets that fail: lines in the log, and how each stood last, kept for every sandbox to read.

On AWS the sandbox that is asked by an operator runs no models, so what it knows of its own is nothing. It is sight, and
fails open: a store that fails keeps nothing, and no call waits for it.
"""

import contextlib
import hashlib
import threading
from typing import Protocol

import msgspec

from chalicelib.documents import PLATFORM, Changed, Document, Documents
from chalicelib.placement.standing import Failure, Report, Standing
from chalicelib.pool import Target
from chalicelib.refusal import StoreUnavailable
from chalicelib.telemetry import Telemetry

SAME_AGAIN_MS = 10_000  # what has been said of a target or a pool is not said again before that
MOST_PLACES = 1_000


class Reports(Protocol):
    """Safe to use from many threads."""

    def tell(self, report: Report) -> None:
        """Of a target."""

    def tell_no_target(self, pool: str, last: Failure | None, now_ms: int) -> None:
        """Of a pool, none of whose targets ran a call. `last`: what the last one that was tried said, if any was."""

    def recall(self, target: Target) -> Standing | None:
        """How the target stood when a sandbox last told. Raises StoreUnavailable."""


class StoredReports:
    """In the log, and as a document for each target."""

    def __init__(self, documents: Documents, telemetry: Telemetry) -> None:
        self._documents = documents
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._told_ms: dict[str, int] = {}  # by place or pool
        self._unwritten: dict[str, Standing] = {}
        self._writing = False

    def tell(self, report: Report) -> None:
        """See Reports.tell."""
        standing, name = report.standing, _name(report.target)
        lately = self._told_lately(name, standing.at_ms)
        if report.change:
            self._log(report)
        elif lately:
            return
        with self._lock:
            self._unwritten[name] = standing
            if self._writing:
                return
            self._writing = True
        try:
            # The call goes on meanwhile: to the next target, or to its caller.
            threading.Thread(target=self._write, daemon=True).start()
        except RuntimeError:  # no thread can be had
            self._writing = False

    def tell_no_target(self, pool: str, last: Failure | None, now_ms: int) -> None:
        """See Reports.tell_no_target."""
        if self._told_lately(f"no-target#{pool}", now_ms):
            return
        why = {"cause": last.cause, "symptom": last.symptom} if last else {"cause": "No target may be tried."}
        self._telemetry.count("NoTarget", now_ms, pool=pool, **why)

    def recall(self, target: Target) -> Standing | None:
        """See Reports.recall."""
        held = self._documents.get(PLATFORM, _name(target))
        return msgspec.json.decode(held.text, type=Standing) if held else None

    def _log(self, report: Report) -> None:
        failure, opened = report.standing.failure, report.standing.retry_at_ms is not None
        why = {"cause": failure.cause, "symptom": failure.symptom, "model": failure.model} if failure else {}
        self._telemetry.count(
            "BreakerOpened" if opened else "BreakerClosed",
            report.standing.at_ms,
            target=report.target.name,
            engine=report.target.engine,
            pool=report.pool,
            **(why if opened else {}),
        )

    def _told_lately(self, name: str, now_ms: int) -> bool:
        """Whether it was told; from now on it was."""
        with self._lock:
            before_ms = self._told_ms.get(name)
            if before_ms is not None and now_ms - before_ms < SAME_AGAIN_MS:
                return True
            if before_ms is None and len(self._told_ms) >= MOST_PLACES:
                del self._told_ms[next(iter(self._told_ms))]
            self._told_ms[name] = now_ms
            return False

    def _write(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._unwritten:
                        self._writing = False
                        return
                    name, standing = self._unwritten.popitem()
                # A race is lost to another sandbox, which has seen the same.
                with contextlib.suppress(StoreUnavailable, Changed):
                    self._keep(name, standing)
        except BaseException:
            self._writing = False
            raise

    def _keep(self, name: str, standing: Standing) -> None:
        held = self._documents.get(PLATFORM, name)
        if held is None or msgspec.json.decode(held.text, type=Standing).at_ms <= standing.at_ms:
            text = msgspec.json.encode(standing).decode()
            self._documents.put(Document(PLATFORM, name, text, held.version if held else 0))


def _name(target: Target) -> str:
    # A digest, because a place is as long as a URL may be, and none of the table's business.
    return f"standing#{hashlib.sha256(target.place().encode()).hexdigest()[:32]}"
