"""A process that has as much to do as it can take says so at once, takes from no tenant for another, and tells
how it is."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import pytest

from app import app
from chalicelib import wiring
from chalicelib.admission.limits import Limits
from chalicelib.admission.memory import MemoryMeters
from chalicelib.call import Call
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.http.bridge import Bridge
from chalicelib.http.capacity import Bounds
from chalicelib.http.entrance import PROBES
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S, until
from tests.small_deployments import Answer, Deployment, Gateway, Store, memory, served

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
CHATS = "/tenants/{tenant}/v1/chat/completions"
WRONG = "ck_acme.aaaaaaaa_" + "A" * 43


class House:
    """A gateway within bounds, whose model says nothing to `flood` before its gate is open."""

    def __init__(self, bounds: Bounds, store: Store | None = None) -> None:
        self.gate = threading.Event()
        self.deployment = Deployment(store, script=self._says)
        for name in ("flood", "quiet"):
            target = Scripted("a", url="a")
            self.deployment.tenancy.put_pool(Pool(name, (target,), ("chat.completions", "completions", "invoke")))
            self.deployment.tenant(name, pools=(name,), limits=Limits((), (), in_flight=1_000))
        self.keys = {name: self.deployment.key(name) for name in ("flood", "quiet")}
        self.bridge = Bridge(app, Settings().body_limit_bytes, {}, bounds=bounds)
        self.gateway: Gateway = None  # type: ignore[assignment]
        self.clients = ThreadPoolExecutor(64)

    def _says(self, _: Target, call: Call) -> Iterable[Step]:
        said = words("one two") if call.stream else whole("done")
        return said if call.pool == "quiet" else (self.gate, *said)

    @contextmanager
    def opened(self) -> Iterator[None]:
        with served(self.bridge) as self.gateway, wiring.opening_into(self.deployment.rooms()), self.clients:
            for name in self.keys:  # remembered from now on
                assert self.gateway.call("GET", f"/tenants/{name}/v1/models", key=self.keys[name]).status == 200
            try:
                yield
            finally:
                self.gate.set()

    def chats(self, tenant: str = "flood", path: str = CHATS, **members: Any) -> Answer:
        path = path.format(tenant=tenant)
        return self.gateway.call("POST", path, key=self.keys[tenant], json={**CHAT, "model": tenant, **members})

    def begins(self, count: int, **members: Any) -> "list[Future[Answer]]":
        """So many of the flood, each with its model."""
        before = self.deployment.engine.running
        begun = [self.clients.submit(self.chats, **members) for _ in range(count)]
        until(lambda: self.deployment.engine.running == before + count)
        return begun


SHAPES: dict[str, tuple[int, Callable[[Any], str], dict[str, Any]]] = {
    CHATS: (503, lambda body: str(body["error"]["code"]), {}),
    "/tenants/{tenant}/v1/messages": (529, lambda body: str(body["error"]["type"]), {"max_tokens": 9}),
    "/tenants/{tenant}/v1/bedrock/model/flood/converse": (503, lambda body: str(body["__type"]), {}),
    "/inference": (503, lambda body: str(body["type"]), {}),
}
NAMES = {"no_capacity", "overloaded_error", "ServiceUnavailableException", "/problems/no-capacity"}


@pytest.mark.parametrize("bounds", [Bounds(requests=4, share_percent=75), Bounds(threads=4, share_percent=75)])
def test_a_flood_gets_its_share_and_a_quiet_tenant_its_answer(bounds: Bounds) -> None:
    house = House(bounds)
    with house.opened():
        begun = house.begins(3)
        for path, (status, name, members) in SHAPES.items():
            shed = house.chats(path=path, **members)
            assert (shed.status, name(shed.json) in NAMES) == (status, True), shed.body
            assert shed.headers["retry-after"] == "1"
        for _ in range(5):
            until(lambda: house.chats("quiet").status == 200)  # the last one's place is free soon, and not at once
        house.gate.set()
        assert [each.result(PATIENCE_S).status for each in begun] == [200] * 3
        assert house.chats().status == 200


def test_how_a_process_is_and_who_is_wrong_is_told_when_nothing_else_gets_through() -> None:
    house = House(Bounds(threads=2, share_percent=100))
    with house.opened():
        house.begins(2)
        for path in ("/live", "/ready", "/health"):
            assert house.gateway.call("GET", path).status == 200
        for body in (b"{}", b"x" * 1_000_000):
            wrong = house.gateway.call("POST", CHATS.format(tenant="acme"), key=WRONG, body=body)
            assert wrong.status == 401
        assert house.chats("quiet").status == 503  # all are taken, by one that was alone


def test_streams_are_counted_apart() -> None:
    house = House(Bounds(streams=4, share_percent=50))
    with house.opened():
        streams = house.begins(2, stream=True)
        shed = house.chats(stream=True)
        assert (shed.status, shed.json["error"]["code"]) == (503, "no_capacity")
        whole_answer = house.begins(1)
        assert house.chats("quiet", stream=True).status == 200
        house.gate.set()
        assert [each.result(PATIENCE_S).status for each in (*streams, *whole_answer)] == [200] * 3
        assert house.chats(stream=True).status == 200
    assert house.deployment.engine.running == 0


def test_what_was_shed_was_never_admitted() -> None:
    house = House(Bounds(threads=1, streams=1, share_percent=100))
    with house.opened():
        (begun,) = house.begins(1)
        before = house.deployment.store.meters.reading("flood")
        assert [house.chats(stream=stream).status for stream in (False, True)] == [503, 503]
        assert house.deployment.store.meters.reading("flood") == before
        house.gate.set()
        assert begun.result(PATIENCE_S).status == 200


def test_bodies_beyond_the_room_for_them_are_refused_and_those_of_others_are_not() -> None:
    house = House(Bounds(body_bytes=100_000, share_percent=75))
    with house.opened():
        large = "x" * 60_000
        (begun,) = house.begins(1, user=large)
        assert house.chats(user=large).status == 503
        assert house.chats("quiet", user="x" * 10_000).status == 200
        house.gate.set()
        assert begun.result(PATIENCE_S).status == 200
        assert house.chats(user=large).status == 200


def test_a_place_is_given_back_when_the_work_has_ended_and_not_when_its_client_has_left() -> None:
    house = House(Bounds(requests=1, share_percent=100))
    with house.opened():
        body = b'{"model":"flood","messages":[{"role":"user","content":"hi"}]}'
        fields = f"authorization: Bearer {house.keys['flood']}\r\ncontent-type: application/json"
        path = CHATS.format(tenant="flood")
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\ncontent-length: {len(body)}\r\n\r\n"
        sent = head.encode() + body
        with socket.create_connection((house.gateway.host, house.gateway.port), PATIENCE_S) as leaving:
            leaving.sendall(sent)
            until(lambda: house.deployment.engine.running == 1)
        assert house.chats().status == 503
        house.gate.set()
        until(lambda: house.chats().status == 200)


class GatedMeters(MemoryMeters):
    """Their store keeps whoever asks for an epoch until it is told to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0

    def read(self, tenant: str) -> int:
        self.asked += 1
        assert self.answers.wait(PATIENCE_S)
        return super().read(tenant)


def test_who_comes_many_times_at_once_to_a_new_process_is_judged_once() -> None:
    meters = GatedMeters()
    house = House(Bounds(), msgspec.structs.replace(memory(), meters=meters))
    house.gate.set()
    with house.opened():
        new = house.deployment.key("flood")
        meters.answers.clear()
        meters.asked = 0
        path, asked = CHATS.format(tenant="flood"), {**CHAT, "model": "flood"}
        many = [house.clients.submit(house.gateway.call, "POST", path, key=new, json=asked) for _ in range(40)]
        until(lambda: meters.asked == 1)
        meters.answers.set()
        assert [each.result(PATIENCE_S).status for each in many] == [200] * 40
        assert meters.asked < 5  # and those of later comers, whom nobody was judging for any more


def test_wrong_keys_at_once_wait_for_each_other_and_not_for_work() -> None:
    house = House(Bounds(threads=1, share_percent=100))
    with house.opened():
        house.begins(1)
        path = CHATS.format(tenant="acme")
        many = [house.clients.submit(house.gateway.call, "POST", path, key=WRONG, json=CHAT) for _ in range(40)]
        assert [each.result(PATIENCE_S).status for each in many] == [401] * 40


@pytest.mark.parametrize("path", ["/live", "/health", "/problems"])
def test_strangers_who_dawdle_with_bodies_keep_nobody_from_what_everybody_may_see(path: str) -> None:
    house = House(Bounds(requests=4, share_percent=100))
    with house.opened(), ExitStack() as dawdling:
        for _ in range(PROBES.requests + 1):
            address = house.gateway.host, house.gateway.port
            slow = dawdling.enter_context(socket.create_connection(address, PATIENCE_S))
            waits = "expect: 100-continue\r\ncontent-length: 9"  # so that it is known when the body is waited for
            slow.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n{waits}\r\n\r\n".encode())
            assert slow.recv(12) == b"HTTP/1.1 100"
        assert house.gateway.call("GET", path).status == 200
