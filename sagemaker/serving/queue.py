"""Who runs next: a bounded line with priorities, aging, and a fair turn for every tenant.

The rules, in order:

1. At most `capacity` requests run, at most `bound` wait (one tenant holds at most `tenant_bound` of those places),
   and nobody waits while a slot is free.
2. The highest class (0..9) goes first; but a class gains one level for each `aging_ms` since it was last served
   (or, if later, since its oldest request came), so that none starves however busy the classes above are.
3. Inside a class the tenants take turns: a tenant joins the ring at its tail and leaves from its head. So a tenant
   with one waiting request is overtaken by at most one request of each other tenant of its class, whatever they send.

No I/O and no clock: every call that depends on time is told it, in milliseconds.
"""

import heapq
from collections import OrderedDict, deque

import msgspec

from serving.refusal import NoRoom

# Weight of the newest sample in the moving average: about the last ten requests decide.
EWMA_WEIGHT = 0.2
FIRST_GUESS_MS = 1000.0


class Ticket(msgspec.Struct, frozen=True):
    """One request's place. `number` is unique in this process; `priority` 0..9, 9 first."""

    number: int
    tenant: str
    priority: int
    at_ms: int


class Forecast(msgspec.Struct, frozen=True):
    """What a waiting request may be told: its place (1 is next) and when it should start, in ms from now."""

    position: int
    start_in_ms: int


class Limits(msgspec.Struct, frozen=True):
    capacity: int = 4
    bound: int = 64
    tenant_bound: int = 32
    aging_ms: int = 5000


class Class:
    """The waiting requests of one priority: a ring of tenants, each with its own first-in-first-out line."""

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.ring: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self.served_ms = 0

    def copy(self) -> "Class":
        twin = Class(self.priority)
        twin.ring = OrderedDict((tenant, deque(line)) for tenant, line in self.ring.items())
        twin.served_ms = self.served_ms
        return twin

    def join(self, ticket: Ticket) -> None:
        self.ring.setdefault(ticket.tenant, deque()).append(ticket)

    def drop(self, ticket: Ticket) -> None:
        line = self.ring[ticket.tenant]
        line.remove(ticket)
        if not line:
            del self.ring[ticket.tenant]

    def pop(self, now_ms: int) -> Ticket:
        tenant, line = self.ring.popitem(last=False)
        ticket = line.popleft()
        if line:
            self.ring[tenant] = line
        self.served_ms = now_ms
        return ticket

    def level(self, now_ms: int, aging_ms: int) -> int:
        oldest = min(line[0].at_ms for line in self.ring.values())
        return self.priority + max(0, now_ms - max(oldest, self.served_ms)) // aging_ms


class FairQueue:
    """The line and the slots behind it. Tickets enter, `start` says who may run, everyone leaves exactly once."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.service_ms = FIRST_GUESS_MS
        self._running: dict[int, int] = {}
        self._waiting: dict[int, Ticket] = {}
        self._classes: dict[int, Class] = {}

    @property
    def in_flight(self) -> int:
        return len(self._running)

    @property
    def depth(self) -> int:
        return len(self._waiting)

    def enter(self, ticket: Ticket) -> None:
        """Take a place; `start` then says whether it may run at once. Raises: NoRoom."""
        mine = sum(1 for other in self._waiting.values() if other.tenant == ticket.tenant)
        free = self.in_flight + self.depth < self.limits.capacity
        if not free and (self.depth >= self.limits.bound or mine >= self.limits.tenant_bound):
            raise NoRoom("too many requests are waiting for this model; come back later", self._wait_ms(ticket.at_ms))
        self._waiting[ticket.number] = ticket
        self._classes.setdefault(ticket.priority, Class(ticket.priority)).join(ticket)

    def start(self, now_ms: int) -> list[Ticket]:
        """Give every free slot to the request whose turn it is, and return those that begin now."""
        begun = []
        while self._waiting and self.in_flight < self.limits.capacity:
            ticket = _next(self._classes, now_ms, self.limits.aging_ms)
            del self._waiting[ticket.number]
            self._running[ticket.number] = now_ms
            begun.append(ticket)
        return begun

    def leave(self, ticket: Ticket, now_ms: int) -> None:
        """A request is over, or its caller has gone while it waited; its slot or place is free at once."""
        begun_ms = self._running.pop(ticket.number, None)
        if begun_ms is not None:
            self.service_ms += EWMA_WEIGHT * (max(1, now_ms - begun_ms) - self.service_ms)
        elif self._waiting.pop(ticket.number, None) is not None:
            group = self._classes[ticket.priority]
            group.drop(ticket)
            if not group.ring:
                del self._classes[ticket.priority]

    def forecasts(self, now_ms: int) -> dict[int, Forecast]:
        """The place and predicted start of every waiting request, by ticket number, if nobody else came."""
        classes = {priority: group.copy() for priority, group in self._classes.items()}
        ends = self._ends(now_ms)
        seen: dict[int, Forecast] = {}
        for position in range(1, len(self._waiting) + 1):
            start_ms = heapq.heappop(ends)
            heapq.heappush(ends, start_ms + self.service_ms)
            number = _next(classes, now_ms, self.limits.aging_ms).number
            seen[number] = Forecast(position, max(0, round(start_ms - now_ms)))
        return seen

    def _wait_ms(self, now_ms: int) -> int:
        """When a request turned away now would have started, had it been let in last."""
        ends = self._ends(now_ms)
        for _ in range(self.depth):
            heapq.heappush(ends, heapq.heappop(ends) + self.service_ms)
        return max(0, round(ends[0] - now_ms))

    def _ends(self, now_ms: int) -> list[float]:
        """When each slot should become free. One that outlives the average is thought to be half-way."""
        ends = [
            begun + self.service_ms if begun + self.service_ms > now_ms else now_ms + (now_ms - begun)
            for begun in self._running.values()
        ]
        ends += [float(now_ms)] * (self.limits.capacity - len(ends))
        heapq.heapify(ends)
        return ends


def _next(classes: dict[int, Class], now_ms: int, aging_ms: int) -> Ticket:
    """Take out the request whose turn it is; a tie between classes goes to the higher one."""
    group = max(classes.values(), key=lambda each: (each.level(now_ms, aging_ms), each.priority))
    ticket = group.pop(now_ms)
    if not group.ring:
        del classes[group.priority]
    return ticket
