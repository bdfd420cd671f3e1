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


class QueuedRequest(msgspec.Struct, frozen=True):
    """A request from its arrival to its end. `number` is unique in this process; `priority` 0..9, 9 first."""

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


class PriorityClass:
    """The waiting requests of one priority: a ring of tenants, each with its own requests, first in, first out."""

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.ring: OrderedDict[str, deque[QueuedRequest]] = OrderedDict()
        self.served_ms = 0

    def copy(self) -> "PriorityClass":
        twin = PriorityClass(self.priority)
        twin.ring = OrderedDict((tenant, deque(requests)) for tenant, requests in self.ring.items())
        twin.served_ms = self.served_ms
        return twin

    def join(self, request: QueuedRequest) -> None:
        self.ring.setdefault(request.tenant, deque()).append(request)

    def drop(self, request: QueuedRequest) -> None:
        requests = self.ring[request.tenant]
        requests.remove(request)
        if not requests:
            del self.ring[request.tenant]

    def pop(self, now_ms: int) -> QueuedRequest:
        tenant, requests = self.ring.popitem(last=False)
        request = requests.popleft()
        if requests:
            self.ring[tenant] = requests
        self.served_ms = now_ms
        return request

    def level(self, now_ms: int, aging_ms: int) -> int:
        oldest = min(requests[0].at_ms for requests in self.ring.values())
        return self.priority + max(0, now_ms - max(oldest, self.served_ms)) // aging_ms


class FairQueue:
    """The line and the slots behind it. Requests enter, `start` says who may run, everyone leaves exactly once."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.service_ms = FIRST_GUESS_MS
        self._running: dict[int, int] = {}
        self._waiting: dict[int, QueuedRequest] = {}
        self._classes: dict[int, PriorityClass] = {}

    @property
    def in_flight(self) -> int:
        return len(self._running)

    @property
    def depth(self) -> int:
        return len(self._waiting)

    def enter(self, request: QueuedRequest) -> None:
        """Take a place; `start` then says whether it may run at once. Raises: NoRoom."""
        mine = sum(1 for other in self._waiting.values() if other.tenant == request.tenant)
        free = self.in_flight + self.depth < self.limits.capacity
        if not free and (self.depth >= self.limits.bound or mine >= self.limits.tenant_bound):
            raise NoRoom("too many requests are waiting for this model; come back later", self._wait_ms(request.at_ms))
        self._waiting[request.number] = request
        self._classes.setdefault(request.priority, PriorityClass(request.priority)).join(request)

    def start(self, now_ms: int) -> list[QueuedRequest]:
        """Give every free slot to the request whose turn it is, and return those that begin now."""
        starting = []
        while self._waiting and self.in_flight < self.limits.capacity:
            request = _next(self._classes, now_ms, self.limits.aging_ms)
            del self._waiting[request.number]
            self._running[request.number] = now_ms
            starting.append(request)
        return starting

    def leave(self, request: QueuedRequest, now_ms: int) -> None:
        """A request is over, or its caller has gone while it waited; its slot or place is free at once."""
        start_ms = self._running.pop(request.number, None)
        if start_ms is not None:
            self.service_ms += EWMA_WEIGHT * (max(1, now_ms - start_ms) - self.service_ms)
        elif self._waiting.pop(request.number, None) is not None:
            group = self._classes[request.priority]
            group.drop(request)
            if not group.ring:
                del self._classes[request.priority]

    def forecasts(self, now_ms: int) -> dict[int, Forecast]:
        """The place and predicted start of every waiting request, by its number, if nobody else came."""
        classes = {priority: group.copy() for priority, group in self._classes.items()}
        ends = self._slot_ends(now_ms)
        found: dict[int, Forecast] = {}
        for position in range(1, len(self._waiting) + 1):
            start_ms = heapq.heappop(ends)
            heapq.heappush(ends, start_ms + self.service_ms)
            number = _next(classes, now_ms, self.limits.aging_ms).number
            found[number] = Forecast(position, max(0, round(start_ms - now_ms)))
        return found

    def _wait_ms(self, now_ms: int) -> int:
        """When a request turned away now would have started, had it been let in last."""
        ends = self._slot_ends(now_ms)
        for _ in range(self.depth):
            heapq.heappush(ends, heapq.heappop(ends) + self.service_ms)
        return max(0, round(ends[0] - now_ms))

    def _slot_ends(self, now_ms: int) -> list[float]:
        """When each slot should become free. One that outlives the average is thought to be half-way."""
        ends = [
            start_ms + self.service_ms if start_ms + self.service_ms > now_ms else now_ms + (now_ms - start_ms)
            for start_ms in self._running.values()
        ]
        ends += [float(now_ms)] * (self.limits.capacity - len(ends))
        heapq.heapify(ends)
        return ends


def _next(classes: dict[int, PriorityClass], now_ms: int, aging_ms: int) -> QueuedRequest:
    """Take out the request whose turn it is; a tie between classes goes to the higher one."""
    group = max(classes.values(), key=lambda each: (each.level(now_ms, aging_ms), each.priority))
    request = group.pop(now_ms)
    if not group.ring:
        del classes[group.priority]
    return request
