"""Whenever a client leaves, or the server stops, nothing stays held and what was generated is settled."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from app import app
from chalicelib import wiring
from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.call import Delta, Started
from chalicelib.engines.scripted import Step, words
from chalicelib.http.bridge import Bridge
from chalicelib.http.capacity import Bounds
from chalicelib.http.pipe import PIPE_BYTES
from chalicelib.http.turns import Patience
from chalicelib.inference.answer import CLIENT_LEFT
from chalicelib.ledger import Entry
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S
from tests.small_deployments import T0, Deployment, Store

ENDLESS = Patience(PATIENCE_S, PATIENCE_S)
CHUNK = b'{"choices":[{"delta":{"content":"hi"}}]}'


class Front:
    """A bridge over one tenant and an engine that answers with `script`."""

    def __init__(
        self, *script: Step, store: Store | None = None, limits: Limits = DEFAULT_LIMITS, **bridge: Any
    ) -> None:
        self.scripts = [script]  # for the calls in their order; the last one for all that follow
        self.deployment = Deployment(store, lambda _, __: self.scripts.pop(0) if self.scripts[1:] else self.scripts[0])
        self.deployment.pool()
        self.deployment.tenant(limits=limits)
        self.key = self.deployment.key()
        self.bridge = Bridge(app, Settings().body_limit_bytes, {}, **bridge)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.deployment.store.ledger.page("acme", 0, T0 * 2, None, 1_000).entries

    @property
    def at_rest(self) -> bool:
        meter = self.deployment.store.meters.reading("acme")
        return self.deployment.engine.running == 0 and meter is not None and not meter.leases


CHATS = "/tenants/acme/v1/chat/completions"
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


class Client:
    """One client of an ASGI application, who sends a chat, reads what comes, and leaves when told."""

    def __init__(
        self,
        front: Front,
        *,
        stream: bool = True,
        path: str = CHATS,
        body: Mapping[str, Any] = CHAT,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._body = msgspec.json.encode({**body, "stream": stream})
        self._asked = False
        self._left = asyncio.Event()
        self._news = asyncio.Condition()
        self.reading = asyncio.Event()
        self.reading.set()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        sent = {"authorization": f"Bearer {front.key}", "content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }  # fmt: skip
        self.exchange = asyncio.ensure_future(front.bridge(scope, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    def forget_what_it_sent(self) -> None:
        self._body = b""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(condition), PATIENCE_S)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        async with self._news:
            self.status = message.get("status", self.status)
            self.headers |= {name.decode(): value.decode() for name, value in message.get("headers", ())}
            self.body += message.get("body", b"")
            self.ended = message["type"] == "http.response.body" and not message.get("more_body")
            self._news.notify_all()
        await self.reading.wait()


async def eventually(condition: Callable[[], bool]) -> None:
    """For what another thread does, which nobody in the loop is told of."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def play(front: Front, scene: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        await asyncio.wait_for(scene(), PATIENCE_S)
        await eventually(lambda: front.at_rest)

    with wiring.opening_into(front.deployment.rooms()):
        asyncio.run(timed())


@pytest.mark.parametrize(("stream", "reason"), [(True, CLIENT_LEFT), (False, "")])
def test_a_client_that_leaves_before_its_answer_begins_is_settled(stream: bool, reason: str) -> None:
    gate = threading.Event()
    # A stream never ends by itself here: it must not have done so before the news of the leaving is through.
    front = Front(gate, Started("i"), Delta(CHUNK, 1), threading.Event()) if stream else Front(gate, *words("one two"))

    async def scene() -> None:
        client = Client(front, stream=stream)
        await eventually(lambda: front.deployment.engine.running == 1)
        client.leave()
        gate.set()
        await client.exchange

    play(front, scene)
    assert [entry.reason for entry in front.entries] == [reason]


def test_a_client_that_leaves_in_the_middle_stops_a_silent_engine() -> None:
    front = Front(Started("i"), Delta(CHUNK, 1), threading.Event())

    async def scene() -> None:
        client = Client(front)
        await client.until(lambda: CHUNK in client.body)
        client.leave()
        await client.exchange
        assert not client.ended

    play(front, scene)
    assert [entry.reason for entry in front.entries] == [CLIENT_LEFT]


@pytest.mark.parametrize("begun", [False, True])
def test_a_server_that_stops_settles_what_it_cuts_off(begun: bool) -> None:
    gate = threading.Event()
    front = Front(Started("i"), Delta(CHUNK, 1), gate) if begun else Front(gate, *words("one two"))

    async def scene() -> None:
        client = Client(front)
        await eventually(lambda: front.deployment.engine.running == 1)
        if begun:
            await client.until(lambda: CHUNK in client.body)
        client.exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.exchange
        gate.set()
        await eventually(lambda: front.at_rest)

    play(front, scene)
    assert [entry.reason for entry in front.entries] == [CLIENT_LEFT]


def test_a_server_that_stops_waits_for_settlements() -> None:
    gate = threading.Event()
    front = Front(gate, *words("one two"))

    async def scene() -> None:
        client = Client(front)
        await eventually(lambda: front.deployment.engine.running == 1)
        client.exchange.cancel()
        stopped: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            assert front.at_rest
            stopped.append(message["type"])

        stopping = asyncio.ensure_future(front.bridge({"type": "lifespan"}, receive, send))
        await asyncio.wait([client.exchange])
        assert stopped == []
        gate.set()
        await stopping
        assert stopped == ["lifespan.shutdown.complete"]

    play(front, scene)


def test_a_reply_that_cannot_be_sent_is_settled() -> None:
    front = Front(*words("one two", instance="no header can say \u5b9e"))

    async def scene() -> None:
        client = Client(front)
        with pytest.raises(UnicodeEncodeError):
            await client.exchange
        await eventually(lambda: front.at_rest)

    play(front, scene)


def test_a_reader_that_takes_nothing_has_left() -> None:
    large = Delta(b'"' + b"x" * PIPE_BYTES + b'"', 1)
    front = Front(Started("i"), Delta(CHUNK, 1), large, large, threading.Event(), patience_s=0.01)

    async def scene() -> None:
        client = Client(front)
        client.reading.clear()
        await eventually(lambda: bool(front.entries))
        client.reading.set()
        await client.exchange
        assert not client.ended

    play(front, scene)
    assert [entry.reason for entry in front.entries] == [CLIENT_LEFT]


def test_a_client_that_leaves_before_its_turn_costs_nothing() -> None:
    gate = threading.Event()
    front = Front(gate, *words("one two"), bounds=Bounds(threads=1), patience=ENDLESS)

    async def scene() -> None:
        first, second = Client(front), Client(front)
        await eventually(lambda: front.deployment.engine.running == 1)
        second.leave()
        await second.exchange
        gate.set()
        await first.exchange
        assert first.ended
        assert second.status == 0

    play(front, scene)
    assert [entry.outcome for entry in front.entries] == ["completed"]


def test_an_answer_that_has_begun_does_not_wait_behind_those_who_came_later() -> None:
    gate = threading.Event()
    front = Front(*words("one two"), bounds=Bounds(threads=1), patience=ENDLESS)
    front.scripts.append((gate, *words("three")))

    async def scene() -> None:
        first, second = Client(front), Client(front)
        await first.exchange
        assert first.ended
        gate.set()
        await second.exchange
        assert second.ended

    play(front, scene)
