"""No step of a stream that a loop takes asks the store: that would hold all others, for as long as the store likes."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.call import Delta
from chalicelib.http.route import Route
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings
from tests.api.test_leaving import Client, Front, play
from tests.api.test_revoked_streams import AT_ONCE_S, suspend
from tests.api.test_silent_models import NEVER, client, dialect_of, every_opened_door, front, saying
from tests.small_deployments import Store


class Watched:
    """A part of the store, and which of its calls were made in a loop."""

    def __init__(self, part: object, asked_in_loop: list[str]) -> None:
        self._part = part
        self._asked_in_loop = asked_in_loop

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Any] = getattr(self._part, name)

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                pass
            else:
                self._asked_in_loop.append(name)
            return found(*arguments, **named)

        return call


def watched(*script: Any, **bridge: Any) -> tuple[Front, list[str]]:
    """A front whose store is watched from when it is up."""
    asked_in_loop: list[str] = []
    made = front(*script, gaps=NEVER, **bridge)
    store = made.deployment.store
    parts: list[Any] = [Watched(getattr(store, name), asked_in_loop) for name in Store.__struct_fields__]
    made.deployment.store = Store(*parts)
    return made, asked_in_loop


def held(route: Route) -> tuple[tuple[Any, ...], threading.Event, tuple[Any, ...]]:
    """What a model says there, in two halves with a gate between them."""
    said = saying("one two", dialect_of(route))
    second = next(place for place, step in enumerate(said) if isinstance(step, Delta) and b"two" in step.data)
    gate = threading.Event()
    return (*said[:second], gate), gate, said[second:]


@every_opened_door
@pytest.mark.parametrize("ends", ["well", "by its model", "in nonsense", "revoked", "left"])
def test_the_store_is_asked_aside(route: Route, ends: str) -> None:
    first, gate, second = held(route)
    rest: dict[str, tuple[Any, ...]] = {
        "well": second,
        "by its model": (EngineFailed("It broke."),),
        "in nonsense": (Delta(b"nonsense", 1), *second),
    }
    there, asked_in_loop = watched(*first, *rest.get(ends, second), look_s=AT_ONCE_S)

    async def scene() -> None:
        stream = client(there, route)
        await stream.until(lambda: b"one" in stream.body)
        there.deployment.clock.now_ms += Settings().renew_ms
        asked_in_loop.clear()
        if ends == "left":
            stream.leave()
        elif ends == "revoked":
            await asyncio.to_thread(suspend, there.deployment, "")
        if ends != "revoked":
            gate.set()
        await stream.exchange
        assert asked_in_loop == []

    play(there, scene)
    assert len(there.entries) == 1


def test_a_response_is_kept_aside() -> None:
    script = saying("one two", "responses")
    there, asked_in_loop = watched(*script)

    async def scene() -> None:
        body = {"model": "model-a", "input": "hi", "store": True}
        stream = Client(there, path="/tenants/acme/v1/responses", body=body)
        await stream.exchange
        assert b"response.completed" in stream.body
        assert asked_in_loop == []

    play(there, scene)
