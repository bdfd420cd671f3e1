"""Mails of the status page, by SES. Sent at least once, and marked by whom it was for, so that hardly ever twice.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Changed, Document, Documents
from chalicelib.randomness import Randomness
from chalicelib.refusal import Conflict
from chalicelib.status.aws import AwsService, Unheard
from chalicelib.status.incidents import Incident
from chalicelib.status.subscribers import PENDING_MS, SUBSCRIBERS, Subscriber, Subscribers, digest

SETTLED_MS = 5_000
"""Updates are mailed in the order of their times; by then one of another process's is there, too."""

REACH_MS = 24 * 3_600_000
"""What nobody could be mailed for so long is old, and stands on the page."""

ROUND_MS = 40_000
HELD_MS = 90_000
"""One process mails at a time; whoever dies is followed after this."""


class _Mailed(msgspec.Struct, frozen=True):
    told: str = ""
    held_until_ms: int = 0


class Paused(Exception):
    """SES takes no more just now. The next round goes on where this one ended."""


class Mailer:
    """Sends by one address of the operator's, which SES has verified."""

    def __init__(self, ses: AwsService, sender: str, public_url: str) -> None:
        self._ses = ses
        self._sender = sender
        self._links = f"{public_url}/status/subscriptions"

    def ask(self, subscriber: Subscriber, secret: str) -> bool:
        link = f"{self._links}/confirm.{subscriber.id}.{secret}"
        text = (
            "Somebody, perhaps you, asked that this address hears of incidents of our service. If you want that, open "
            f"this within a day, and confirm:\n\n{link}\n\nElse do nothing: you will not hear of us again.\n"
        )
        return self._send(subscriber, "Do you want to hear of incidents?", text, [])

    def tell(self, subscriber: Subscriber, incident: Incident, number: int) -> bool:
        """Of the incident's update; False: this address takes none. Raises Paused."""
        update = incident.updates[number]
        at = datetime.fromtimestamp(update.at_ms // 1_000, UTC)
        leave = f"{self._links}/leave.{subscriber.id}.{subscriber.leave}"
        text = (
            f"{incident.title}\n\n{update.step.title()}, {at:%Y-%m-%d %H:%M} UTC:\n\n{update.text}\n\n"
            f"How all stands: {self._links.removesuffix('/subscriptions')}\nHear no more: {leave}\n"
        )
        headers = [("List-Unsubscribe", f"<{leave}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")]
        return self._send(subscriber, f"{update.step.title()}: {incident.title}", text, headers)

    def _send(self, subscriber: Subscriber, subject: str, text: str, headers: Sequence[tuple[str, str]]) -> bool:
        content: dict[str, Any] = {
            "Subject": {"Data": subject, "Charset": "UTF-8"},
            "Body": {"Text": {"Data": text, "Charset": "UTF-8"}},
        }
        if headers:
            content["Headers"] = [{"Name": name, "Value": value} for name, value in headers]
        body = msgspec.json.encode(
            {
                "FromEmailAddress": self._sender,
                "Destination": {"ToAddresses": [subscriber.address]},
                "Content": {"Simple": content},
            }
        )
        try:
            answered = self._ses.send("POST", "/v2/email/outbound-emails", {"Content-Type": "application/json"}, body)
        except Unheard as unheard:
            raise Paused(str(unheard)) from unheard
        if answered.status == 200:
            return True
        if answered.status == 400:
            return False
        raise Paused(str(answered.status))


class Round:
    """Of a schedule: who is to be asked is asked, and who is to hear hears."""

    def __init__(self, documents: Documents, mailer: Mailer, random: Randomness, clock: Clock) -> None:
        self._documents = documents
        self._subscribers = Subscribers(documents)
        self._mailer = mailer
        self._random = random
        self._clock = clock

    def run(self, incidents: Sequence[Incident]) -> int:
        """How many mails were sent. Raises Paused, StoreUnavailable."""
        now_ms = self._clock()
        mailed, version = self._mailed()
        if mailed.held_until_ms > now_ms:
            return 0
        held = msgspec.structs.replace(mailed, held_until_ms=now_ms + HELD_MS)
        try:
            self._put(held, version)
        except Changed:
            return 0
        told = mailed.told
        try:
            sent, told = self._mail(incidents, told, now_ms)
        finally:
            self._put(_Mailed(told), version + 1)
        return sent

    def _mail(self, incidents: Sequence[Incident], told: str, now_ms: int) -> tuple[int, str]:
        sent = 0
        updates = {
            _key(incident, number): (incident, number)
            for incident in incidents
            for number, update in enumerate(incident.updates)
            if now_ms - REACH_MS < update.at_ms <= now_ms - SETTLED_MS
        }
        people = self._subscribers.all()
        for subscriber, version in people:
            if subscriber.confirmed_ms is None:
                sent += self._ask(subscriber, version, now_ms)
        for key in sorted(each for each in updates if each > told):
            incident, number = updates[key]
            for subscriber, _ in people:
                if self._clock() - now_ms > ROUND_MS:
                    return sent, told
                sent += self._tell(subscriber.id, key, incident, number)
            told = key
        return sent, told

    def _ask(self, subscriber: Subscriber, version: int, now_ms: int) -> int:
        if now_ms - subscriber.asked_ms > PENDING_MS:
            self._subscribers.delete(subscriber, version)
            return 0
        if subscriber.confirm:
            return 0
        secret = self._random(24).hex()
        # Kept before it is sent: a link that somebody has must work, and one that nobody has does no harm.
        self._subscribers.put(msgspec.structs.replace(subscriber, confirm=digest(secret)), version)
        return int(self._mailer.ask(subscriber, secret))

    def _tell(self, id_: str, key: str, incident: Incident, number: int) -> int:
        found = self._subscribers.get(id_)  # afresh: they may have left a moment ago, or were told before a crash
        if found is None or found[0].confirmed_ms is None or found[0].told >= key:
            return 0
        subscriber, version = found
        taken = self._mailer.tell(subscriber, incident, number)
        try:
            self._subscribers.put(msgspec.structs.replace(subscriber, told=key), version)
        except Conflict:
            return int(taken)  # they have just left
        return int(taken)

    def _mailed(self) -> tuple[_Mailed, int]:
        held = self._documents.get(SUBSCRIBERS, "mailed")
        return (msgspec.json.decode(held.text, type=_Mailed), held.version) if held else (_Mailed(), 0)

    def _put(self, mailed: _Mailed, version: int) -> None:
        self._documents.put(Document(SUBSCRIBERS, "mailed", msgspec.json.encode(mailed).decode(), version))


def _key(incident: Incident, number: int) -> str:
    """Of an update: they sort by time."""
    return f"{incident.updates[number].at_ms:013}-{incident.id}"
