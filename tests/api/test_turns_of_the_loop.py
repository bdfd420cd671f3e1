"""A loop does a little of everything in each of its turns, so that nothing waits for all of something else."""

import asyncio
import socket
import threading
from collections import Counter, deque
from contextlib import ExitStack
from typing import Any

from chalicelib import wiring
from chalicelib.http import doorway, sources
from chalicelib.http.capacity import Bounds
from chalicelib.http.doorway import Doorway
from chalicelib.http.sources import Sources
from tests.api.test_beyond_capacity import House
from tests.patience import PATIENCE_S

MANY = 5 * max(doorway.AT_ONCE, sources.AT_ONCE)


class Turns:
    """Of the loop that runs, counted."""

    def __init__(self) -> None:
        self.now = 0
        self._loop = asyncio.get_running_loop()
        self._count()

    def _count(self) -> None:
        self.now += 1
        self._next = self._loop.call_soon(self._count)

    def end(self) -> None:
        self._next.cancel()


def played(scene: Any) -> None:
    asyncio.run(asyncio.wait_for(scene(), PATIENCE_S))


def test_a_burst_is_begun_with_in_many_turns_and_in_its_order() -> None:
    async def scene() -> None:
        door, turns = Doorway(), Turns()
        entered: list[tuple[int, int]] = []

        async def enter(number: int) -> None:
            await door.enter()
            entered.append((turns.now, number))

        await asyncio.gather(*(enter(number) for number in range(MANY)))
        turns.end()
        assert [number for _, number in entered] == list(range(MANY))
        assert max(Counter(turn for turn, _ in entered).values()) == doorway.AT_ONCE

    played(scene)


def test_who_leaves_while_they_wait_takes_nobodys_place() -> None:
    async def scene() -> None:
        door = Doorway()
        waiting = [asyncio.ensure_future(door.enter()) for _ in range(MANY)]
        await asyncio.sleep(0)
        for each in waiting[doorway.AT_ONCE : -1]:
            each.cancel()
        await waiting[-1]

    played(scene)


def test_of_many_sources_a_few_are_read_in_a_turn_and_all_in_the_end() -> None:
    async def scene() -> None:
        with ExitStack() as pairs:
            of_all, turns = Sources(), Turns()
            read: list[tuple[int, int]] = []
            done = asyncio.Event()
            left: deque[int] = deque(range(MANY))
            for number in range(MANY):
                ours, theirs = (pairs.enter_context(each) for each in socket.socketpair())
                theirs.send(b"x")

                def come(ours: socket.socket = ours, number: int = number) -> None:
                    assert ours.recv(1) == b"x"
                    read.append((turns.now, number))
                    of_all.listen_no_more(ours.fileno())
                    left.remove(number)
                    if not left:
                        done.set()

                of_all.listen(ours.fileno(), come)
            await done.wait()
            turns.end()
            assert max(Counter(turn for turn, _ in read).values()) == sources.AT_ONCE
            assert sorted(number for _, number in read) == list(range(MANY))

    played(scene)


def test_whether_a_process_lives_is_answered_without_a_thread_while_all_are_taken() -> None:
    house = House(Bounds(requests=2, threads=2, share_percent=100))
    with house.opened():
        house.begins(2)
        before = set(threading.enumerate())
        assert house.gateway.call("GET", "/live").json["status"] == "live"
        assert set(threading.enumerate()) <= before
        assert house.gateway.call("GET", "/ready").status == 200
        assert not set(threading.enumerate()) <= before  # so that one would have been seen


def test_how_a_process_is_is_asked_past_a_burst() -> None:
    house = House(Bounds())
    answered: list[str] = []
    before_ready: list[int] = []  # how many were answered when its turn came

    async def asked(path: str) -> None:
        messages = iter([{"type": "http.request", "body": b""}])

        async def receive() -> dict[str, Any]:
            if path == "/ready":
                before_ready.append(len(answered))
            return next(messages, None) or await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.append(path)

        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await house.bridge({**scope, "headers": []}, receive, send)

    async def scene() -> None:
        await asked("/ready")  # known from now on
        answered.clear()
        before_ready.clear()
        await asyncio.gather(*(asked("/nowhere") for _ in range(MANY)), asked("/ready"))

    with wiring.opening_into(house.deployment.rooms()):
        played(scene)
    assert answered.count("/nowhere") == MANY
    assert before_ready[0] < MANY


def test_who_sends_a_body_along_is_told_so_there_too() -> None:
    house = House(Bounds())
    with house.opened():
        assert house.gateway.call("GET", "/live", body=b'{"a":1}').status == 400
        assert house.gateway.call("GET", "/live", body=b"x" * 5_000).status == 413
        assert house.gateway.call("HEAD", "/live").body == b""
