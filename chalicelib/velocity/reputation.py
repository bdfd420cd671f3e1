"""What operators say of addresses, for all tenants: lists of networks, and how many tenants one address may call.

| document                 | under       | says                                                |
|--------------------------|-------------|-----------------------------------------------------|
| `fair-use`               | `~platform` | Head: the rules, and in which pages the lists stand |
| `reputation#<id>#<page>` | `~platform` | some of the entries: written once, removed later    |

Each process asks for the head every HEARD_MS, by the request that comes then, and for the pages where it has changed.
What it knows otherwise it knows by heart: nothing is asked for a request, and an empty list costs a comparison.
Where the store does not answer, what was known last holds: the lists are one fence more, and no key opens by them.
"""

from collections.abc import Sequence
from contextlib import suppress
from threading import Lock

import msgspec

from chalicelib.documents import PLATFORM, Changed, Document, Documents
from chalicelib.refusal import Conflict, Forbidden, Malformed, StoreUnavailable
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.tenancy.tenant import MOST_RULES, VelocityRule
from chalicelib.velocity.networks import ListedNetwork, Networks, must_be_sound

HEARD_MS = 15_000
"""From a change until every process has heard of it, at most, where it is asked anything."""

PAGE_BYTES = 300_000
"""DynamoDB keeps 400 KB in an item."""

SWEPT_MS = 3_600_000
"""Pages that no head names after so long were left by a change that failed."""

HEAD = "fair-use"
PAGES = "reputation#"

DENIED = (
    "Requests from this address are not taken here. If it is yours and this is a mistake, ask the operator of the "
    "service, and name the id of this request."
)


class Head(msgspec.Struct, frozen=True):
    """`pages`: the names of their documents."""

    pages: tuple[str, ...] = ()
    rules: tuple[VelocityRule, ...] = ()


class Known(msgspec.Struct, frozen=True):
    """What a process knows by heart."""

    version: int = 0
    denied: Networks = Networks()
    watched: Networks = Networks()
    rules: tuple[VelocityRule, ...] = ()

    @property
    def asks_callers(self) -> bool:
        """Whether anything is to be looked at once it is known who calls."""
        return bool(self.rules) or not self.watched.empty


class Reputation:
    """Of one process. Thread-safe."""

    def __init__(self, documents: Documents) -> None:
        self.known = Known()
        self._documents = documents
        self._heard_ms: int | None = None
        self._lock = Lock()

    def must_let_in(self, source: NetworkSource, now_ms: int) -> None:
        """Raises Forbidden: one text for everybody, whatever they bring."""
        if self.known.denied.entry_for(source, now_ms) is not None:
            raise Forbidden(DENIED)

    def hear(self, now_ms: int) -> bool:
        """Ask for what has changed, where it is time; False: the store did not answer, and what was known holds.

        One thread asks, and the others go on by what is known; but for the first time, when nothing is.
        """
        heard_ms = self._heard_ms
        if heard_ms is not None and now_ms - heard_ms < HEARD_MS:
            return True
        if not self._lock.acquire(blocking=heard_ms is None):
            return True
        try:
            if self._heard_ms == heard_ms:
                try:
                    self.known = self._read()
                finally:  # also where it fails: nobody waits for a store that is down at every request
                    self._heard_ms = now_ms
        except StoreUnavailable:
            return False
        finally:
            self._lock.release()
        return True

    def entries(self) -> tuple[Sequence[ListedNetwork], Head, int]:
        """As they are stored, with their head and its version. Raises StoreUnavailable."""
        for _ in range(3):  # the pages may be replaced meanwhile
            head, version = self._head()
            pages = [self._documents.get(PLATFORM, name) for name in head.pages]
            texts = [page.text for page in pages if page is not None]
            if len(texts) == len(pages):
                return (
                    [each for text in texts for each in msgspec.json.decode(text, type=list[ListedNetwork])],
                    head,
                    version,
                )
        raise StoreUnavailable("The lists are being changed too quickly.")

    def rules(self) -> Sequence[VelocityRule]:
        return self._head()[0].rules

    def put_entries(self, entries: Sequence[ListedNetwork], version: int | None, mark: str, now_ms: int) -> int:
        """These, and no others; their version. `version`: that they are to replace; `mark`: of this change alone.

        Raises Malformed, Conflict, StoreUnavailable.
        """
        must_be_sound(entries)
        head, held = self._head()
        if version is not None and version != held:
            raise Conflict("Somebody else changed the lists since. Read them again, then repeat.")
        names: list[str] = []
        for text in _pages(entries):
            names.append(f"{PAGES}{now_ms:014}-{mark}#{len(names)}")
            self._documents.put(Document(PLATFORM, names[-1], text))
        self._put(msgspec.structs.replace(head, pages=tuple(names)), held)
        for page in list(self._documents.under(PLATFORM, PAGES)):
            forgotten = page.name < f"{PAGES}{now_ms - SWEPT_MS:014}" and page.name not in names
            if page.name in head.pages or forgotten:
                with suppress(Changed):
                    self._documents.delete(page)
        return held + 1

    def put_rules(self, rules: Sequence[VelocityRule]) -> None:
        """These, and no others. Raises Malformed, Conflict, StoreUnavailable."""
        if len(rules) > MOST_RULES or len({rule.per_s for rule in rules}) < len(rules):
            raise Malformed(f"There are {MOST_RULES} rules at most, each for other seconds.", field="rules")
        if any(rule.what != "tenants" for rule in rules):
            raise Malformed("Rules of one address are of `tenants`.", field="rules")
        head, held = self._head()
        self._put(msgspec.structs.replace(head, rules=tuple(rules)), held)

    def throttle(self, rule: VelocityRule) -> None:
        """From now on, that is refused which breaks this rule. Raises as put_rules."""
        others = [each for each in self.rules() if each.per_s != rule.per_s]
        self.put_rules((*others, msgspec.structs.replace(rule, action="throttle")))

    def _read(self) -> Known:
        if self._head()[1] == self.known.version:
            return self.known
        entries, head, version = self.entries()
        denied, watched = ([each for each in entries if each.list == name] for name in ("deny", "watch"))
        return Known(version, Networks(denied), Networks(watched), head.rules)

    def _head(self) -> tuple[Head, int]:
        document = self._documents.get(PLATFORM, HEAD)
        return (msgspec.json.decode(document.text, type=Head), document.version) if document else (Head(), 0)

    def _put(self, head: Head, version: int) -> None:
        try:
            self._documents.put(Document(PLATFORM, HEAD, msgspec.json.encode(head).decode(), version))
        except Changed:
            raise Conflict("Somebody else changed this at the same time. Read it again, then repeat.") from None


def _pages(entries: Sequence[ListedNetwork]) -> list[str]:
    pages: list[list[bytes]] = []
    room = 0
    for entry in entries:
        written = msgspec.json.encode(entry)
        if len(written) + 1 > room:
            pages.append([])
            room = PAGE_BYTES
        pages[-1].append(written)
        room -= len(written) + 1
    return [f"[{b','.join(page).decode()}]" for page in pages]
