"""A body is bounded as it arrives, and nobody's is taken before they are known."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from chalicelib.http.bodies import UNDECLARED_BYTES, Pace, body_of
from chalicelib.refusal import NoCapacity, TooLarge, TooSlow
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S
from tests.small_deployments import Deployment, Gateway

LIMIT = 1_000_000
CHUNKED = [(b"transfer-encoding", b"chunked")]


class Sender:
    """Sends pieces, and then nothing; notes for how much room was made."""

    def __init__(self, pieces: Iterable[bytes], *, ends: bool = True) -> None:
        self._pieces = list(pieces)
        self._ends = ends
        self.room: list[int] = []

    async def receive(self) -> dict[str, Any]:
        if not self._pieces:
            await asyncio.Event().wait()
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or not self._ends}

    async def make_room(self, count: int) -> None:
        self.room.append(count)

    def sends(self, *, declared: int | None = None, pace: Pace = Pace(PATIENCE_S)) -> bytes | None:  # noqa: B008
        headers = CHUNKED if declared is None else [(b"content-length", b"%d" % declared)]
        return asyncio.run(body_of({"headers": headers}, self.receive, LIMIT, self.make_room, pace))


def test_room_is_made_for_what_is_declared_before_it_is_read() -> None:
    sender = Sender([b"x" * 400, b"y" * 600])
    assert sender.sends(declared=1_000) == b"x" * 400 + b"y" * 600
    assert sender.room == [1_000]


def test_what_is_declared_too_large_is_not_read() -> None:
    sender = Sender([])
    with pytest.raises(TooLarge):
        sender.sends(declared=LIMIT + 1)
    assert sender.room == []


def test_room_for_chunks_is_made_as_they_come() -> None:
    small, large = Sender([b"x" * 10]), Sender([b"x" * UNDECLARED_BYTES, b"y"])
    assert (small.sends(), large.sends()) == (b"x" * 10, b"x" * UNDECLARED_BYTES + b"y")
    assert (small.room, sum(large.room)) == ([UNDECLARED_BYTES], LIMIT)


def test_chunks_are_too_large_as_soon_as_they_are() -> None:
    sender = Sender([b"x" * 400_000] * 1_000)
    with pytest.raises(TooLarge):
        sender.sends()
    assert len(sender._pieces) == 997


@pytest.mark.parametrize("pieces", [[], [b"x", b"x"]], ids=["nothing", "a dribble"])
def test_a_body_that_does_not_get_on_is_too_slow(pieces: list[bytes]) -> None:
    with pytest.raises(TooSlow):
        Sender(pieces, ends=False).sends(pace=Pace(first_s=0.01))


def test_what_has_come_buys_time_for_the_rest() -> None:
    """Nothing would be left for the second piece, had the first not brought a second for each of its bytes."""
    sender = Sender([b"x" * int(PATIENCE_S), b"y"])
    sent = sender.receive

    async def late() -> dict[str, Any]:
        message = await sent()
        if message["body"] == b"y":
            await asyncio.sleep(0.2)
        return message

    sender.receive = late  # type: ignore[method-assign]
    assert sender.sends(pace=Pace(first_s=0.1, bytes_per_s=1)) is not None


def head(path: str, key: str | None, *fields: str) -> bytes:
    known = [f"authorization: Bearer {key}"] if key else []
    lines = (f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *known, *fields)
    return "\r\n".join((*lines, "", "")).encode()


def asked(gateway: Gateway, sent: bytes) -> socket.socket:
    connection = socket.create_connection((gateway.host, gateway.port), PATIENCE_S)
    connection.sendall(sent)
    return connection


CHATS = "/tenants/acme/v1/chat/completions"
SHAPES: dict[str, Callable[[Any], str]] = {
    CHATS: lambda body: body["error"]["code"],
    "/tenants/acme/v1/messages": lambda body: body["error"]["type"],
    "/inference": lambda body: body["type"],
    "/tenants/acme/v1/bedrock/model/m/invoke": lambda body: body["__type"],
}


@pytest.mark.parametrize("length", ["content-length: 5000000", "transfer-encoding: chunked"])
@pytest.mark.parametrize(("path", "kind"), SHAPES.items())
def test_a_stranger_is_refused_before_they_have_sent_a_body(
    gateway: Gateway, deployment: Deployment, path: str, kind: Callable[[Any], str], length: str
) -> None:
    with asked(gateway, head(path, "ck_acme.aaaaaaaa_" + "A" * 43, length, "expect: 100-continue")) as connection:
        said = connection.recv(65_536)
        assert said.startswith(b"HTTP/1.1 401")  # and not 100: nobody wanted to see a body
        while not (body := said.partition(b"\r\n\r\n")[2]):
            said += connection.recv(65_536)
    assert kind(json.loads(body)) in (
        "invalid_api_key", "authentication_error", "/problems/invalid-api-key", "AccessDeniedException",
    )  # fmt: skip


def test_a_known_callers_body_is_wanted(gateway: Gateway, deployment: Deployment) -> None:
    sent = head(CHATS, deployment.key(), "content-length: 2", "expect: 100-continue")
    with asked(gateway, sent) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{}")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400")


def test_an_endless_body_is_refused_at_its_bound(gateway: Gateway, deployment: Deployment) -> None:
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with asked(gateway, head(CHATS, deployment.key(), "transfer-encoding: chunked")) as connection:
        connection.setblocking(False)
        said, sent = b"", 0
        while not said:
            try:
                sent += connection.send(piece[sent % len(piece) :])
                said = connection.recv(65_536)
            except BlockingIOError:
                continue
        connection.setblocking(True)
        assert said.startswith(b"HTTP/1.1 413")
        # What the kernel and the server's one reading hold is on top; it is no second body.
        assert sent < 2 * Settings().body_limit_bytes + 5_000_000


def test_the_declared_bound_needs_no_byte(gateway: Gateway, deployment: Deployment) -> None:
    too_large = f"content-length: {Settings().body_limit_bytes + 1}"
    with asked(gateway, head(CHATS, deployment.key(), too_large)) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_no_room_is_no_capacity() -> None:
    sender = Sender([b"x"])

    async def full(_: int) -> None:
        raise NoCapacity("Full.")

    sender.make_room = full  # type: ignore[method-assign, assignment]
    with pytest.raises(NoCapacity):
        sender.sends(declared=1)
