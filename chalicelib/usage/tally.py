"""What is counted of the entries of a group. Tallies add up, in whichever order, to that of all their entries."""

from collections.abc import Iterable, Mapping

import msgspec

from chalicelib.ledger import Entry
from chalicelib.usage.group import Group
from chalicelib.usage.latencies import step_of


class Tally(msgspec.Struct, array_like=True):
    """Integers, never negative. It is kept as an array: a member more comes last, and has a default."""

    requests: int = 0
    refusals: int = 0  # of them that did not complete
    tokens_in: int = 0  # that models read, and wrote, also where nothing was charged
    tokens_out: int = 0
    micro_usd: int = 0  # that were charged
    bytes: int = 0  # in and out, where they are known
    steps: dict[int, int] = {}

    def count(self, entry: Entry) -> None:
        self.requests += 1
        self.refusals += entry.outcome != "completed"
        audited = entry.audited
        # Entries from before they told may have an audit that does.
        self.tokens_in += entry.tokens_in or (audited.tokens_in if audited and entry.tokens_in is None else 0)
        self.tokens_out += entry.tokens_out or (audited.tokens_out if audited and entry.tokens_out is None else 0)
        self.micro_usd += entry.charged.micro_usd
        if audited:
            self.bytes += audited.request_bytes + audited.response_bytes
        step = step_of(entry.settled_ms - entry.admitted_ms)
        self.steps[step] = self.steps.get(step, 0) + 1

    def add(self, other: "Tally") -> None:
        self.requests += other.requests
        self.refusals += other.refusals
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.micro_usd += other.micro_usd
        self.bytes += other.bytes
        for step, many in other.steps.items():
            self.steps[step] = self.steps.get(step, 0) + many

    def in_order(self) -> "Tally":
        """The same, with its steps from the shortest."""
        return msgspec.structs.replace(self, steps=dict(sorted(self.steps.items())))


Groups = Mapping[Group, Tally]


def added(parts: Iterable[Groups]) -> dict[Group, Tally]:
    """All of them together; none of them is changed."""
    total: dict[Group, Tally] = {}
    for part in parts:
        for group, tally in part.items():
            total.setdefault(group, Tally()).add(tally)
    return total
