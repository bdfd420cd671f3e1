"""What operators say of a fault: an incident, told in updates. Each is a document, in a partition of the page's.

| document          | under     | says                                   |
|-------------------|-----------|----------------------------------------|
| `components`      | `~status` | what is watched                        |
| `incident#<id>`   | `~status` | Incident: its updates, the last one last |
| `maintenance`     | `~status` | every window that is announced, or was |
"""

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec

from chalicelib.documents import Changed, Document, Documents
from chalicelib.refusal import Conflict, NotFound
from chalicelib.status.component import ComponentId, Line, must_be_known
from chalicelib.status.minutes import DAY_MS, DAYS

STATUS = "~status"
"""A partition of its own, so that who writes the page need not be let into anything else of the table."""

INCIDENT = "incident#"
MOST_OPEN = 20
MOST_KEPT = 200
MOST_UPDATES = 40
MOST_AFFECTED = 30

Step = Literal["investigating", "identified", "monitoring", "resolved"]
Impact = Literal["none", "degraded", "down"]
Said = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$(?!\n)",
        min_length=1,
        max_length=1_000,
        description="1 to 1,000 characters; of those that control, line breaks and tabs alone",
    ),
]
Affected = Annotated[tuple[ComponentId, ...], msgspec.Meta(max_length=MOST_AFFECTED)]


class Update(msgspec.Struct, frozen=True):
    """One step, and what is said of it."""

    at_ms: int
    step: Step
    impact: Impact
    text: str


class Incident(msgspec.Struct, frozen=True):
    """`components`: the ids of those that it affects."""

    id: str
    title: str
    components: tuple[str, ...]
    updates: tuple[Update, ...]

    @property
    def last(self) -> Update:
        return self.updates[-1]

    @property
    def is_open(self) -> bool:
        return self.last.step != "resolved"

    @property
    def began_ms(self) -> int:
        return self.updates[0].at_ms


class NewIncident(msgspec.Struct, frozen=True):
    """What is known at first; `components`: the ids of those that it affects."""

    title: Line
    text: Said
    components: Affected = ()
    impact: Impact = "degraded"
    step: Step = "investigating"


class NewUpdate(msgspec.Struct, frozen=True):
    """`impact` and `components`: left out, as before."""

    step: Step
    text: Said
    impact: Impact | None = None
    components: Affected | None = None


class Incidents:
    """Every method may raise StoreUnavailable."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def all(self) -> list[Incident]:
        """The last one first."""
        return [incident for incident, _ in self._held()]

    def open(self, new: NewIncident, known: Collection[str], mark: str, now_ms: int) -> Incident:
        """`mark`: of this incident alone. Raises Malformed, Conflict."""
        must_be_known(new.components, known)
        held = self._held()
        if sum(incident.is_open for incident, _ in held) >= MOST_OPEN:
            raise Conflict(f"{MOST_OPEN} incidents are open. Resolve one of them, or add to it.")
        self._forget(held, now_ms)
        update = Update(now_ms, new.step, "none" if new.step == "resolved" else new.impact, new.text)
        incident = Incident(f"{now_ms:013}-{mark}", new.title, new.components, (update,))
        self._put(incident, 0)
        return incident

    def add(self, incident_id: str, new: NewUpdate, known: Collection[str], now_ms: int) -> Incident:
        """Raises NotFound, Malformed, Conflict."""
        document = self._documents.get(STATUS, f"{INCIDENT}{incident_id}"[:200])
        if document is None:
            raise NotFound("There is no such incident. GET /admin/status/incidents lists those there are.")
        incident = msgspec.json.decode(document.text, type=Incident)
        components = incident.components if new.components is None else new.components
        if new.components is not None:
            must_be_known(new.components, known)
        if len(incident.updates) >= MOST_UPDATES:
            raise Conflict(f"This incident has {MOST_UPDATES} updates. Open another one.")
        impact = incident.last.impact if new.impact is None else new.impact
        # Time goes on in an incident, whichever clock it was that told the update before.
        at_ms = max(now_ms, incident.last.at_ms + 1)
        update = Update(at_ms, new.step, "none" if new.step == "resolved" else impact, new.text)
        changed = msgspec.structs.replace(incident, components=components, updates=(*incident.updates, update))
        self._put(changed, document.version)
        return changed

    def _held(self) -> list[tuple[Incident, Document]]:
        found = self._documents.under(STATUS, INCIDENT)
        held = [(msgspec.json.decode(each.text, type=Incident), each) for each in found]
        return sorted(held, key=lambda each: each[0].began_ms, reverse=True)

    def _forget(self, held: list[tuple[Incident, Document]], now_ms: int) -> None:
        """Those that are shown no more, or are too many; what was said of them stands in the journal."""
        for number, (incident, document) in enumerate(held):
            old = incident.last.at_ms < now_ms - DAYS * DAY_MS or number >= MOST_KEPT - 1
            if old and not incident.is_open:
                try:
                    self._documents.delete(document)
                except Changed:
                    continue  # somebody adds to it

    def _put(self, incident: Incident, version: int) -> None:
        text = msgspec.json.encode(incident).decode()
        try:
            self._documents.put(Document(STATUS, f"{INCIDENT}{incident.id}", text, version))
        except Changed:
            raise Conflict("Somebody else told of this incident at the same time. Look at it, then repeat.") from None
