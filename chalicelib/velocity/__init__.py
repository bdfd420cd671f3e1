"""Scraping and hoarding: how many different prompts, keys and addresses a tenant may call with in a window of time, and
how many findings of its guardrails it may have.

    windows   what was seen in a window, counted exactly      store   in DynamoDB      memory   its twin
    reviews   what somebody is to look at                    whose    who is counted together, and who is told
    reputation   what operators say of addresses             networks    lists, and which of them an address is in

Here is the judge. A window is an item of its own for each tenant, and each key that has rules, with a set of short
digests for each rule, which is never larger than the rule allows. What this process has seen in a window it asks no
store about again: a digest in a set stays in it as long as the window lasts, and a set that is full stays full. So a
request costs one conditional write for each length of window, and none where nothing of it is new here.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock

import msgspec

from chalicelib.documents import Documents
from chalicelib.refusal import RateLimited
from chalicelib.tenancy.tenant import VelocityRule, What
from chalicelib.velocity.reputation import Reputation
from chalicelib.velocity.reviews import MOST_NAMED, Evidence, Reviews
from chalicelib.velocity.whose import ADDRESS, Whose, operators
from chalicelib.velocity.windows import Window, Windows, window_at

__all__ = ["Tell", "Velocity"]

MOST_PLACES = 1_000
"""That a process remembers: of tenants and keys that have rules; and of addresses, where those are counted."""
DIGEST_BYTES = 8

Tell = Callable[[What], bytes | None]
"""What a request has of this kind: the prompt, who calls, from where. None: nothing."""

FINDINGS = VelocityRule("findings", 20, 3_600)
"""Of a tenant with guardrails whose operator has said nothing else: more than so many, and operators are told."""

WATCHED, WATCHED_S = "watched", 3_600
"""The review of a tenant that is called from networks on the watch list, and how often it is written to."""

SAID: dict[What, str] = {
    "prompts": "different prompts",
    "keys": "different keys",
    "addresses": "different addresses",
    "tenants": "different tenants",
    "findings": "prompts and answers that its guardrails flag or refuse",
}


class _Seen:
    """Of those who are counted together, in one window, by this process."""

    def __init__(self, window: Window, rules: tuple[VelocityRule, ...]) -> None:
        self.window = window
        self.rules = rules
        self.digests: dict[What, frozenset[bytes]] = {}
        self.full: frozenset[What] = frozenset()
        self.told: frozenset[What] = frozenset()
        self.found: Counter[str] = Counter()  # by rules of the guardrails


class Velocity:
    """The judge of one process. Thread-safe."""

    def __init__(self, windows: Windows, documents: Documents) -> None:
        self.reviews = Reviews(documents)
        self.reputation = Reputation(documents)
        self._windows = windows
        self._lock = Lock()
        self._seen: dict[tuple[str, int], _Seen] = {}  # by place and length of window
        self._addresses: dict[tuple[str, int], _Seen] = {}  # the same, so that many addresses push out no tenant
        self._watched: dict[str, int] = {}  # tenants that were called from watched networks: the window it was told in

    def judge(self, whose: Whose, rules: tuple[VelocityRule, ...], evidence: Evidence, tell: Tell, now_ms: int) -> None:
        """Count the request; where a rule is broken, tell those whose rule it is, once for each window.

        Raises: RateLimited, by a rule that throttles, with the time until its window ends; nothing of a request that is
        refused by what this process knows is counted. StoreUnavailable.
        """
        refused: list[tuple[VelocityRule, Window]] = []
        for per_s in dict.fromkeys(rule.per_s for rule in rules):
            seen = self._seen_in(whose.place, window_at(per_s, now_ms), rules)
            self._note(seen, evidence)
            broken = self._broken(whose.place, seen, tell)
            for rule in broken:
                if rule.what not in seen.told:
                    told = msgspec.structs.replace(evidence, found=dict(seen.found))
                    self.reviews.tell(whose, rule, told, now_ms)
                    seen.told |= {rule.what}
            refused += [(rule, seen.window) for rule in broken if rule.action == "throttle"]
        if refused:
            rule, window = max(refused, key=lambda each: each[1].ends_ms)
            raise RateLimited(
                f"{whose.called} has had {rule.most} {SAID[rule.what]} within {rule.per_s} s, as many as it may. "
                f"Wait, or ask {whose.ask}.",
                limit=f"{rule.what}-per-{rule.per_s}-s",
                remaining=0,
                retry_in_ms=window.ends_ms - now_ms,
            )

    def watch(self, evidence: Evidence, now_ms: int) -> None:
        """Tell operators, once an hour for each tenant, that somebody calls from a network that they watch.

        Raises StoreUnavailable.
        """
        hour = window_at(WATCHED_S, now_ms).number
        with self._lock:
            if self._watched.get(evidence.tenant) == hour:
                return
            if len(self._watched) >= MOST_PLACES:
                self._watched.clear()
            self._watched[evidence.tenant] = hour
        self.reviews.note(operators(evidence.tenant), WATCHED, WATCHED_S, None, evidence, now_ms)

    def _note(self, seen: _Seen, evidence: Evidence) -> None:
        with self._lock:
            for name, count in evidence.found.items():
                if name in seen.found or len(seen.found) < MOST_NAMED:
                    seen.found[name] += count

    def _seen_in(self, whose: str, window: Window, rules: tuple[VelocityRule, ...]) -> _Seen:
        place = whose, window.per_s
        places = self._addresses if whose.startswith(ADDRESS) else self._seen
        with self._lock:
            seen = places.get(place)
            if seen is None or seen.window != window or seen.rules != rules:
                if seen is None and len(places) >= MOST_PLACES:
                    del places[next(iter(places))]
                seen = places[place] = _Seen(window, rules)
            return seen

    def _broken(self, whose: str, seen: _Seen, tell: Tell) -> list[VelocityRule]:
        """The rules that the request breaks. It is counted by the others, unless one of them throttles it."""
        rules = {rule.what: rule for rule in seen.rules if rule.per_s == seen.window.per_s}
        said = {what: tell(what) for what in rules}
        digests = {what: _digest(whose, what, seen.window, each) for what, each in said.items() if each is not None}
        new = {what: digest for what, digest in digests.items() if digest not in seen.digests.get(what, ())}
        broken = {what for what in new if what in seen.full}
        while True:
            if any(rules[what].action == "throttle" for what in broken):
                break
            adding = {what: (digest, rules[what].most) for what, digest in new.items() if what not in broken}
            if not adding:
                break
            there = self._windows.add(whose, seen.window, adding)
            if there is None:
                self._learn(seen, {what: frozenset((digest,)) for what, (digest, _) in adding.items()}, set())
                break
            full = {what for what, (_, most) in adding.items() if len(there.get(what, ())) >= most}
            self._learn(seen, there, full)
            over = {what for what in full if adding[what][0] not in there[what]}
            assert over, "an item that refused them has room for none"
            broken |= over
        return [rules[what] for what in rules if what in broken]

    def _learn(self, seen: _Seen, digests: Mapping[What, frozenset[bytes]], full: set[What]) -> None:
        with self._lock:
            for what, more in digests.items():
                seen.digests[what] = seen.digests.get(what, frozenset()) | more
            seen.full |= full


def _digest(whose: str, what: What, window: Window, said: bytes) -> bytes:
    """Another one in each window, so that nobody follows a prompt through them."""
    place = msgspec.json.encode((whose, what, window.per_s, window.number))
    return hashlib.sha256(b"cloister velocity\0" + place + hashlib.sha256(said).digest()).digest()[:DIGEST_BYTES]
