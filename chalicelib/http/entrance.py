"""Who is taken in, and in which order: a caller is known, and has a place, before a byte of their body is taken.

remembered?  counted to its tenant; what is remembered may be old, and is proved where it counts
if not       judged, on threads for that alone: refused, or remembered from now on
a place      or 503 at once
the body     as soon as there is room for it
a thread     in turn
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from chalicelib import wiring
from chalicelib.http.asgi import Receive, Scope
from chalicelib.http.bodies import body_of
from chalicelib.http.callers import must_be_let_in
from chalicelib.http.capacity import STRANGERS, Bounds
from chalicelib.http.cross_origin import origin_of
from chalicelib.http.doors import Reply
from chalicelib.http.ids import ids_of
from chalicelib.http.incoming import Incoming, incoming
from chalicelib.http.judges import Judges
from chalicelib.http.route import Route
from chalicelib.http.surface import turned_away
from chalicelib.http.turns import Capacity, Patience
from chalicelib.http.visit import Visit
from chalicelib.identity import Signed, identify
from chalicelib.refusal import NoCapacity, Refusal, StoreUnavailable, TooLarge, TooSlow
from chalicelib.tenancy import PLATFORM_TENANT

SHOWN_BYTES = 1_024
"""Of a body to what takes none: enough for the empty object that some clients send with everything."""

TOKEN_BYTES = 10_240
"""Of a body that everybody may send: a token of 8 KB, and what is around it."""

PROBES = Bounds(requests=64, threads=4, streams=1, share_percent=100)
"""How a process is, is asked most urgently where nothing else gets through: so that has threads of its own."""


class TurnedAway(Exception):
    """A request that is not taken in, and what it is answered."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Entrance:
    """Of one process; used in one loop."""

    def __init__(self, bounds: Bounds, patience: Patience, body_limit: int) -> None:
        self._body_limit = body_limit
        self._capacity = Capacity(bounds, patience)
        self._threads = ThreadPoolExecutor(bounds.threads, thread_name_prefix="request")
        self._for_probes = Capacity(PROBES, patience)
        self._probe_threads = ThreadPoolExecutor(PROBES.threads, thread_name_prefix="probe")
        self.judges = Judges(bounds.share_percent, patience)

    async def enter(
        self, route: Route | None, event: dict[str, Any], scope: Scope, receive: Receive, *, signs: bool
    ) -> Visit | None:
        """Take the request in, and its body into the event; None: the client has left. Raises TurnedAway.

        `route`: None where nobody is asked who they are. `signs`: who this is, a signature says that needs the body.
        """
        try:
            if route is not None and route.permission == "public":
                return await self._shown(route, event, scope, receive)
            if route is None or signs:
                return await self._taken_in(STRANGERS, route, event, scope, receive)
            return await self._guarded(route, event, scope, receive)
        except (Refusal, StoreUnavailable) as error:
            raise TurnedAway(await self._reply_to(error, route, event)) from None

    async def let_see(self, route: Route, event: dict[str, Any], scope: Scope, receive: Receive) -> bool:
        """Who needs neither a place nor a thread; False: the client has left. Raises TurnedAway."""
        try:
            event["body"] = await body_of(scope, receive, SHOWN_BYTES, _no_room)
        except Refusal as error:
            raise TurnedAway(await self._reply_to(error, route, event)) from None
        return event["body"] is not None

    async def _shown(self, route: Route, event: dict[str, Any], scope: Scope, receive: Receive) -> Visit | None:
        """What everybody may see, or sign in by. Its body is little, or none: it is read by whoever holds no place yet,
        so that no stranger keeps one by dawdling."""
        most = SHOWN_BYTES if route.accepts is None else TOKEN_BYTES
        body = await body_of(scope, receive, most, _no_room)
        return None if body is None else await self._taken_in(STRANGERS, route, event, scope, receive, body)

    async def _guarded(self, route: Route, event: dict[str, Any], scope: Scope, receive: Receive) -> Visit | None:
        path = wiring.path()
        asked = incoming(event, route, path.clock(), ids_of(event))
        who = _remembered(asked)
        if who is None:
            await self._judge(route, asked)
            return await self._taken_in(_counted_to(route, asked), route, event, scope, receive, asked=asked)
        try:
            return await self._taken_in(who, route, event, scope, receive, asked=asked)
        except (TooLarge, TooSlow):
            await self._judge(route, asked)  # before they hear what is wrong with what they send
            raise

    async def _judge(self, route: Route, asked: Incoming) -> None:
        """Raises what refuses its caller."""
        case = (route.method, route.path, asked.surface, asked.tenant, asked.credential, asked.source)
        await self.judges.agree(asked.tenant or STRANGERS, case, partial(must_be_let_in, route, asked))

    async def _taken_in(
        self,
        who: str,
        route: Route | None,
        event: dict[str, Any],
        scope: Scope,
        receive: Receive,
        body: bytes | None = None,
        asked: Incoming | None = None,
    ) -> Visit | None:
        """`body`, `asked`: where they have been read already."""
        probes = route is not None and route.probes
        capacity, threads = (self._for_probes, self._probe_threads) if probes else (self._capacity, self._threads)
        await capacity.requests.take(who)
        visit = Visit(capacity, who, threads, asked)
        entered = False
        try:
            if body is None:
                body = await body_of(scope, receive, self._body_limit, visit.make_room)
            entered = body is not None and await _has_turn(visit, receive)
        finally:
            if not entered:
                visit.end_work()
        event["body"] = body
        return visit if entered else None

    async def _reply_to(self, error: Exception, route: Route | None, event: Mapping[str, Any]) -> Reply:
        if route is not None and route.for_pages and origin_of(event):  # whether its page may read it, a store may know
            with suppress(NoCapacity):
                return await self.judges.run(STRANGERS, partial(turned_away, error, route, event, reads=True))
        return turned_away(error, route, event, reads=False)


def _remembered(asked: Incoming) -> str | None:
    """To whom a caller is counted whom this process remembers; None: it does not, or not as one who may come in."""
    path = wiring.path()
    try:
        principal, _ = identify(
            asked.credential, asked.tenant, path.snapshots.held, path.clock(), path.remembered, asked.source
        )
    except Refusal:
        return None
    # Who holds a KMS key has proved nothing yet: no stranger uses up what those have who did.
    return principal.tenant if principal.proof != "kms" else f"{principal.tenant} by possession"


def _counted_to(route: Route, asked: Incoming) -> str:
    """The same, of one who has just been judged, and may come in."""
    if route.permission == "operate" and isinstance(asked.credential, Signed):
        return PLATFORM_TENANT
    return _remembered(asked) or STRANGERS


async def _no_room(_: int) -> None:
    """What holds so little needs none."""


async def _has_turn(visit: Visit, receive: Receive) -> bool:
    """Whether it has got its thread; if not, its client has left meanwhile. Raises NoCapacity."""
    if visit.has_thread_at_once():
        return True
    turn = asyncio.ensure_future(visit.take_thread())
    gone = asyncio.ensure_future(gone_from(receive))
    try:
        await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        if turn.done():
            turn.result()
        return turn.done()
    finally:
        turn.cancel()
        gone.cancel()


async def gone_from(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        continue
