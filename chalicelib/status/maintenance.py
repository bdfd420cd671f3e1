"""What operators announce: windows in which components may be away. Announced before it begins, or an incident."""

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec

from chalicelib.documents import Changed, Document, Documents
from chalicelib.refusal import Conflict, Malformed, NotFound
from chalicelib.status.component import ComponentId, Line, must_be_known
from chalicelib.status.incidents import MOST_AFFECTED, STATUS, Said
from chalicelib.status.minutes import DAY_MS, DAYS

MAINTENANCE = "maintenance"
MOST_WINDOWS = 40
LONGEST_MS = 7 * DAY_MS
FARTHEST_MS = 366 * DAY_MS

Moment = Annotated[int, msgspec.Meta(ge=0, lt=10**13)]


class NewWindow(msgspec.Struct, frozen=True):
    """From `begins_ms` until before `ends_ms` these components may be away."""

    title: Line
    text: Said
    components: Annotated[tuple[ComponentId, ...], msgspec.Meta(min_length=1, max_length=MOST_AFFECTED)]
    begins_ms: Moment
    ends_ms: Moment


class Window(msgspec.Struct, frozen=True):
    """What was announced."""

    id: str
    title: str
    text: str
    components: tuple[str, ...]
    begins_ms: int
    ends_ms: int

    def covers(self, component: str, at_ms: int) -> bool:
        return component in self.components and self.begins_ms <= at_ms < self.ends_ms


class Maintenance:
    """Every method may raise StoreUnavailable."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def all(self) -> Sequence[Window]:
        """By when they begin."""
        return self._read()[0]

    def announce(self, new: NewWindow, known: Collection[str], mark: str, now_ms: int) -> Window:
        """`mark`: of this window alone. Raises Malformed, Conflict."""
        must_be_known(new.components, known)
        if new.begins_ms < now_ms:
            raise Malformed("This begins in the past: what was not announced is an incident.", field="begins_ms")
        if not new.begins_ms < new.ends_ms <= new.begins_ms + LONGEST_MS:
            raise Malformed("It must end after it begins, within a week.", field="ends_ms")
        if new.begins_ms > now_ms + FARTHEST_MS:
            raise Malformed("It must begin within a year.", field="begins_ms")
        windows, version = self._read()
        kept = [each for each in windows if each.ends_ms > now_ms - DAYS * DAY_MS]
        if len(kept) >= MOST_WINDOWS:
            raise Conflict(f"{MOST_WINDOWS} windows are announced or were of late. Take one back.")
        window = Window(f"{new.begins_ms:013}-{mark}", new.title, new.text, new.components, new.begins_ms, new.ends_ms)
        self._put([*kept, window], version)
        return window

    def take_back(self, window_id: str, now_ms: int) -> None:
        """One that has not begun is gone; one that has ends now. Raises NotFound, Conflict."""
        windows, version = self._read()
        found = next((each for each in windows if each.id == window_id and each.ends_ms > now_ms), None)
        if found is None:
            raise NotFound("There is no such window, or it is over. GET /admin/status/maintenance lists them.")
        rest = [each for each in windows if each is not found]
        if found.begins_ms < now_ms:
            rest.append(msgspec.structs.replace(found, ends_ms=now_ms))
        self._put(rest, version)

    def _read(self) -> tuple[list[Window], int]:
        held = self._documents.get(STATUS, MAINTENANCE)
        return (msgspec.json.decode(held.text, type=list[Window]), held.version) if held else ([], 0)

    def _put(self, windows: Sequence[Window], version: int) -> None:
        text = msgspec.json.encode(sorted(windows, key=lambda each: each.begins_ms)).decode()
        try:
            self._documents.put(Document(STATUS, MAINTENANCE, text, version))
        except Changed:
            raise Conflict("Somebody else changed what is announced at the same time. Look, then repeat.") from None
