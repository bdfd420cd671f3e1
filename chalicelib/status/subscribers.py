"""Who hears of incidents by mail: whoever asked for it and has shown that the address is theirs, until they leave.

| document        | under           | says                                                       |
|-----------------|-----------------|------------------------------------------------------------|
| `person#<id>`   | `~subscribers`  | Subscriber: the address, and what has been mailed to it    |
| `asked`         | `~subscribers`  | Asked: how many asked in this hour, from where, as digests |
| `mailed`        | `~subscribers`  | Mailed: up to which update everybody has heard             |
"""

import hashlib
import re
from typing import Annotated

import msgspec

from chalicelib.documents import Changed, Document, Documents
from chalicelib.randomness import Randomness
from chalicelib.refusal import Conflict, Malformed, NotFound, RateLimited

SUBSCRIBERS = "~subscribers"
PERSON = "person#"
MOST = 5_000
MOST_AN_HOUR = 200
MOST_OF_A_SOURCE = 10
HOUR_MS = 3_600_000
PENDING_MS = 24 * HOUR_MS
"""For how long a link can be confirmed; then the address is forgotten."""

GONE = "This link is of no use any more. Subscribe again, on the status page."

# One address, of letters that mean nothing to whoever reads a header or a page: neither a list, a name nor a comment.
_ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}$(?!\n)"
Address = Annotated[str, msgspec.Meta(pattern=_ADDRESS, max_length=254, description="a mail address")]


class Subscriber(msgspec.Struct, frozen=True):
    """`confirm`: the digest of what the link to confirm ends with; `leave`: what the link to leave ends with, which is
    in every mail. `told`: the key of the last update that was mailed to them (`mailing` makes it)."""

    id: str
    address: str
    asked_ms: int
    confirm: str
    leave: str
    confirmed_ms: int | None = None
    told: str = ""


class _Asked(msgspec.Struct, frozen=True):
    hour: int
    total: int = 0
    sources: dict[str, int] = {}


class Subscribers:
    """Every method may raise StoreUnavailable."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def ask(self, address: str, source: str, now_ms: int, random: Randomness) -> None:
        """They are to be asked by mail whether they want this. Nothing is told of whether they were there before.

        Raises Malformed, RateLimited.
        """
        if not re.fullmatch(_ADDRESS, address) or len(address) > 254:
            raise Malformed("`email` must be a mail address.", field="email")
        self._count(source, now_ms)
        known = self.get(_id_of(address))
        if known is not None and (known[0].confirmed_ms is not None or now_ms - known[0].asked_ms < PENDING_MS):
            return  # they hear already, or have a mail that asks them: nobody's box is filled by whoever knows it
        subscriber = Subscriber(_id_of(address), address, now_ms, "", random(24).hex())
        self.put(subscriber, known[1] if known else 0)

    def follow(self, token: str, now_ms: int) -> bool:
        """What a link from a mail says: True: they are confirmed; False: they are gone. Raises NotFound, Conflict."""
        kind, subscriber, version = self.named(token)
        if kind == "leave":
            self.delete(subscriber, version)
            return False
        if subscriber.confirmed_ms is None:
            if sum(each.confirmed_ms is not None for each, _ in self.all()) >= MOST:
                raise Conflict("As many are subscribed as can be. Look at the status page.")
            # From now on: what was told before is on the page.
            self.put(msgspec.structs.replace(subscriber, confirmed_ms=now_ms, told=f"{now_ms:013}"), version)
        return True

    def named(self, token: str) -> tuple[str, Subscriber, int]:
        """What a link is for (`confirm`, `leave`), and whose it is. Raises NotFound."""
        kind, _, rest = token[:200].partition(".")
        id_, _, secret = rest.partition(".")
        found = self.get(id_) if re.fullmatch("[0-9a-f]{32}", id_) else None
        if found is None or not secret:
            raise NotFound(GONE)
        subscriber, version = found
        fits = {"confirm": digest(secret) == subscriber.confirm, "leave": digest(secret) == digest(subscriber.leave)}
        if not fits.get(kind):
            raise NotFound(GONE)
        return kind, subscriber, version

    def all(self) -> list[tuple[Subscriber, int]]:
        """With the version of each."""
        found = self._documents.under(SUBSCRIBERS, PERSON)
        return [(msgspec.json.decode(each.text, type=Subscriber), each.version) for each in found]

    def put(self, subscriber: Subscriber, version: int) -> None:
        """Raises Conflict."""
        text = msgspec.json.encode(subscriber).decode()
        try:
            self._documents.put(Document(SUBSCRIBERS, f"{PERSON}{subscriber.id}", text, version))
        except Changed:
            raise Conflict("Somebody else changed this at the same time. Try again.") from None

    def delete(self, subscriber: Subscriber, version: int) -> None:
        """Raises Conflict."""
        try:
            self._documents.delete(Document(SUBSCRIBERS, f"{PERSON}{subscriber.id}", "", version))
        except Changed:
            raise Conflict("Somebody else changed this at the same time. Try again.") from None

    def get(self, id_: str) -> tuple[Subscriber, int] | None:
        """With its version."""
        held = self._documents.get(SUBSCRIBERS, f"{PERSON}{id_}")
        return (msgspec.json.decode(held.text, type=Subscriber), held.version) if held else None

    def _count(self, source: str, now_ms: int) -> None:
        hour, whose = now_ms // HOUR_MS, digest(source)[:16]
        held = self._documents.get(SUBSCRIBERS, "asked")
        asked = msgspec.json.decode(held.text, type=_Asked) if held else _Asked(hour)
        if asked.hour != hour:
            asked = _Asked(hour)
        of_source = asked.sources.get(whose, 0)
        if asked.total >= MOST_AN_HOUR or of_source >= MOST_OF_A_SOURCE:
            raise RateLimited("Too many have subscribed in this hour.", retry_in_ms=(hour + 1) * HOUR_MS - now_ms)
        counted = _Asked(hour, asked.total + 1, {**asked.sources, whose: of_source + 1})
        text = msgspec.json.encode(counted).decode()
        try:
            self._documents.put(Document(SUBSCRIBERS, "asked", text, held.version if held else 0))
        except Changed:
            raise RateLimited("Many subscribe just now. Try again.", retry_in_ms=1_000) from None


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _id_of(address: str) -> str:
    return digest(address.lower())[:32]
