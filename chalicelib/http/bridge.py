"""HTTP to the Chalice app and back, streaming: an ASGI application around it.

It turns a request into the API Gateway event that Chalice expects, calls the app in a thread, and sends
the body as it comes: by a pump, in the loop, where its source can be waited for there. `server` runs it,
on Lambda behind the AWS Lambda Web Adapter with API Gateway's response transfer mode STREAM, which
Python's managed runtime cannot by itself yet.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import msgspec

from chalicelib import wiring
from chalicelib.http.asgi import WRITER, Receive, Scope, Send
from chalicelib.http.capacity import STRANGERS, Bounds
from chalicelib.http.doors import Doors
from chalicelib.http.doorway import Doorway
from chalicelib.http.entrance import Entrance, TurnedAway, gone_from
from chalicelib.http.ids import ids_of
from chalicelib.http.pipe import Pipe
from chalicelib.http.proxy_event import proxy_event
from chalicelib.http.rounds import Rounds
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.http.routing import Matcher
from chalicelib.http.shapes import SHAPES
from chalicelib.http.shared_threads import SharedThreads
from chalicelib.http.silence import Gaps, streaming_transport
from chalicelib.http.sources import Sources
from chalicelib.http.surface import headers_of, refused
from chalicelib.http.turns import Patience
from chalicelib.http.visit import visiting
from chalicelib.http.wrong_paths import of_a_page, reply_where_nothing_is
from chalicelib.inference import look_at_running
from chalicelib.refusal import MethodNotAllowed, NoCapacity, NotFound

T = TypeVar("T")

ASIDE = 16
"""Threads for what ends a stream, which the loop must not wait for: the engine's last bytes, and the store."""

LENGTHY = 32
"""Threads for what takes long of a stream: a second stage judges it, or rules that compute for long. Shared among
tenants, and apart from all others: whoever's guardrail is slow holds up their own streams, and nobody's settlement."""

LENGTHY_PATIENCE = Patience(stands_s=60.0, longest_s=60.0)
"""For one of those, while nobody renews the stream's lease."""

KEEPING = 16
"""Threads that keep what runs: they renew leases, and look at what allowed their streams. Apart from those above, of
which a store that is slow, or many ends at once, may hold all for longer than a lease lasts."""

SETTLING_S = 2.0
"""How long a server that stops waits for requests that it has cut off: their settlement is two writes."""

LOOK_S = 5.0
"""How often it is looked at what allowed the streams that run: at most so long a stream outlives a revoked key."""

PATIENCE_S = 50.0
"""How long a reader may take nothing. Then it has left, before its request loses the lease that nobody renews."""


class SignedRequest(msgspec.Struct, frozen=True):
    """A request as its client signed it: nothing decoded, nothing joined."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


Iam = Callable[[SignedRequest], Mapping[str, str]]
"""Who signed a request, as members of API Gateway's `identity`. Raises Forbidden."""


class Bridge:
    """The ASGI application. `iam` stands in for API Gateway's authoriser, where there is no API Gateway."""

    def __init__(
        self,
        app: Doors,
        body_limit: int,
        environment: Mapping[str, str],
        iam: Iam | None = None,
        *,
        bounds: Bounds = Bounds(),  # noqa: B008  # frozen
        patience: Patience = Patience(),  # noqa: B008  # frozen
        patience_s: float = PATIENCE_S,
        gaps: Gaps = Gaps(),  # noqa: B008  # frozen
        trusted_hops: int = 0,
        look_s: float = LOOK_S,
    ) -> None:
        self._app = app
        self._matcher = Matcher(app.paths, app.methods)
        self._urgent: set[tuple[str, str]] = set()  # methods and paths, from their second request on
        self._entrance = Entrance(bounds, patience, body_limit)
        # Apart from those: when all of them wait for silent engines, it is a close that sets one free.
        self._aside = ThreadPoolExecutor(ASIDE, thread_name_prefix="aside")
        self._keeping = ThreadPoolExecutor(KEEPING, thread_name_prefix="keeping")
        self._lengthy = SharedThreads(LENGTHY, "lengthy", bounds.share_percent, LENGTHY_PATIENCE)
        # Only the adapter inside a Lambda function sets this header, over whatever a client sent; anywhere
        # else it is a client's, who could claim to be an IAM principal with it.
        self._behind_adapter = "AWS_LAMBDA_FUNCTION_NAME" in environment
        self._iam = iam
        self._patience_s = patience_s
        self._gaps = gaps
        self._trusted_hops = trusted_hops
        self._doorway = Doorway()
        self._sources = Sources()
        self._at_work: set[Future[Any]] = set()
        self._looking = Rounds(lambda: look_at_running(wiring.path()), self._begin_keeping, look_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] == "http":
            return await self._http(scope, receive, send)
        raise RuntimeError(f"only HTTP is served, not {scope['type']}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # uvicorn ends the process by the signal that it got, and with it every thread, wherever it is.
                await self._settled(SETTLING_S)
                await asyncio.get_running_loop().run_in_executor(None, wiring.path().telemetry.flush)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _settled(self, patience_s: float) -> None:
        """Nothing is at work any more, or it takes too long."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + patience_s
        while self._at_work and (left_s := until_s - loop.time()) > 0:  # what ends may leave something to be closed
            await loop.run_in_executor(None, wait, tuple(self._at_work), left_s)

    def _begin_aside(self, work: Callable[[], T]) -> "Future[T]":
        return self._begin(self._aside, work)

    def _begin_keeping(self, work: Callable[[], T]) -> "Future[T]":
        return self._begin(self._keeping, work)

    def _begin(self, threads: ThreadPoolExecutor, do: Callable[..., T], *arguments: Any) -> "Future[T]":
        work = threads.submit(do, *arguments)
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)
        return work

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = scope.get("extensions", {}).pop(WRITER, None)  # it knows its scope: left there, nobody would free it
        path = scope["raw_path"].decode("latin-1")
        if (scope["method"], path) not in self._urgent:
            await self._doorway.enter()
        try:
            template, parameters = self._matcher.match(scope["method"], path)
        except (NotFound, MethodNotAllowed) as missing:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            asked = (missing, scope["method"], path, headers)
            if not of_a_page(path, headers):
                return await _send_whole(reply_where_nothing_is(*asked), send)
            return await _send_whole(await self._where_nothing_is(*asked), send)
        event = proxy_event(
            scope, template, parameters, behind_adapter=self._behind_adapter, trusted_hops=self._trusted_hops
        )
        route = ROUTES.at(template).get(scope["method"])
        if route is not None and route.about_us:
            self._urgent.add((scope["method"], template))
        if route is not None and route.at_once:
            return await self._answer_at_once(route, event, scope, receive, send)
        signs = self._signs(scope, template)
        try:
            visit = await self._entrance.enter(route, event, scope, receive, signs=signs)
        except TurnedAway as away:
            return await _send_whole(away.reply.to_dict(), send)
        if visit is None:
            return None
        visiting.set(visit)
        signed = _signed(scope, event["body"]) if signs else None
        share = visit.share_of(self._lengthy)
        pipe = Pipe(self._begin_aside, self._begin_keeping, share, self._sources, self._patience_s, self._gaps, writer)
        # One thread from the first line of the view to the first event, or to the last piece of what no pump can take:
        # a stream that waited for a second one behind other requests would hold its lease, and the engine's answer,
        # for nothing.
        work = self._begin(visit.threads, copy_context().run, self._work, event, signed, pipe)
        work.add_done_callback(visit.end_work)
        del event, signed  # a stream holds no body for as long as it runs

        def left(_: "asyncio.Future[None]") -> None:
            pipe.abandon()
            if work.cancel():  # it had not begun
                pipe.tell(None)

        gone = asyncio.ensure_future(gone_from(receive))
        gone.add_done_callback(left)
        try:
            reply = await pipe.head
            if reply is not None:
                await self._send(reply, pipe, send)
        finally:
            gone.cancel()
            work.cancel()
            # Accounting is not cancelled by the client leaving, nor by a server that stops: closing settles.
            closing = pipe.close()
            try:
                if closing is not None:
                    await asyncio.shield(closing)
            finally:
                visit.leave()

    async def _answer_at_once(
        self, route: Route, event: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            if await self._entrance.let_see(route, event, scope, receive):
                await _send_whole(self._app(event, None), send)
        except TurnedAway as away:
            await _send_whole(away.reply.to_dict(), send)

    async def _where_nothing_is(
        self, missing: NotFound | MethodNotAllowed, method: str, path: str, headers: dict[str, str]
    ) -> dict[str, Any]:
        """What a page of another origin is told, which the tenant's document lets read it."""
        try:
            return await self._entrance.judges.run(
                STRANGERS, partial(reply_where_nothing_is, missing, method, path, headers)
            )
        except NoCapacity:
            del headers["origin"]
            return reply_where_nothing_is(missing, method, path, headers)

    def _signs(self, scope: Scope, template: str) -> bool:
        """Whether somebody claims to have signed the request, its route asks for that, and we are to judge it."""
        if self._iam is None or not self._app.asks_iam(template, scope["method"]):
            return False
        return any(name == b"authorization" and value.startswith(b"AWS4-") for name, value in scope["headers"])

    def _work(self, event: dict[str, Any], signed: SignedRequest | None, pipe: Pipe) -> None:
        """In a thread: the reply, and its body through the pipe if it comes in pieces."""
        try:
            reply = self._call(event, signed, pipe)
        except BaseException as error:
            return pipe.tell_soon(error)
        body = reply["body"]
        if isinstance(body, str | bytes):
            return pipe.tell_soon(reply)
        source = body.polled(pipe)
        if source is not None:
            return pipe.hand_over(reply, source)
        pipe.tell_soon(reply)
        pipe.fill(body)
        return None

    def _call(self, event: dict[str, Any], signed: SignedRequest | None, pipe: Pipe) -> dict[str, Any]:
        streaming_transport.set(pipe)
        if self._iam is not None and signed is not None:
            try:
                event["requestContext"]["identity"] |= self._iam(signed)
            except Exception as error:
                ids = ids_of(event)
                reply = refused(error, SHAPES.of(event["path"]), ids)
                reply.headers |= headers_of(ids)
                return reply.to_dict()
        answer: dict[str, Any] = self._app(event, None)
        return answer

    async def _send(self, reply: dict[str, Any], pipe: Pipe, send: Send) -> None:
        if isinstance(reply["body"], str | bytes):
            return await _send_whole(reply, send)
        self._looking.begin()
        await send(_start(reply))
        while pieces := await pipe.drained():
            await send({"type": "http.response.body", "body": pieces, "more_body": True})
        if not pipe.abandoned:
            await send({"type": "http.response.body", "body": b""})
        return None


async def _send_whole(reply: dict[str, Any], send: Send) -> None:
    body = reply["body"]
    if isinstance(body, str):  # Chalice's own answers
        body = body.encode()
    start = _start(reply)
    if "Content-Length" not in reply["headers"]:  # HEAD's is that of the body it does not have
        start["headers"].append((b"content-length", str(len(body)).encode()))
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _start(reply: dict[str, Any]) -> dict[str, Any]:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply["headers"].items()]
    for name, values in reply["multiValueHeaders"].items():
        headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for value in values]
    return {"type": "http.response.start", "status": reply["statusCode"], "headers": headers}


def _signed(scope: Scope, body: bytes) -> SignedRequest:
    return SignedRequest(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body)


def build(iam: Iam | None = None) -> Bridge:
    """The bridge in front of this program's app."""
    from app import app
    from chalicelib import wiring

    settings = wiring.path().settings
    bounds = Bounds(
        requests=settings.requests,
        threads=settings.request_threads,
        streams=settings.streams,
        body_bytes=settings.body_bytes,
        share_percent=settings.tenant_share_percent,
    )
    return Bridge(app, settings.body_limit_bytes, os.environ, iam, bounds=bounds, trusted_hops=settings.trusted_hops)
