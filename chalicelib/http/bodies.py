"""A request's body, as it arrives: bounded, room made for it before it is read, and never slower than a slow line."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from chalicelib.http.asgi import Receive, Scope
from chalicelib.refusal import TooLarge, TooSlow

UNDECLARED_BYTES = 65_536
"""For a body whose head does not say how large it is; one that is larger may be as large as any."""


class Pace(msgspec.Struct, frozen=True):
    """How long a body may take: so long, and longer for what has come."""

    first_s: float = 20.0
    bytes_per_s: int = 16_384


PACE = Pace()

MakeRoom = Callable[[int], Awaitable[None]]
"""For so many bytes more. Raises NoCapacity."""


async def body_of(scope: Scope, receive: Receive, limit: int, make_room: MakeRoom, pace: Pace = PACE) -> bytes | None:
    """The whole of it; None where the client has left.

    Until there is room for what it says that it is, it stays on the socket. Raises: TooLarge, as soon as it is known to
    be; TooSlow; NoCapacity.
    """
    declared = _declared(scope)
    if (declared or 0) > limit:
        raise _too_large(limit)
    room = min(UNDECLARED_BYTES, limit) if declared is None else declared
    if room:
        await make_room(room)
    began_s = asyncio.get_running_loop().time()
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(pace.first_s) as patience:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                piece = message.get("body", b"")
                size += len(piece)
                if size > limit:
                    raise _too_large(limit)
                if size > room and declared is None:
                    await make_room(limit - room)
                    room = limit
                if not message.get("more_body"):
                    return b"".join((*pieces, piece)) if pieces else piece
                pieces.append(piece)
                patience.reschedule(began_s + pace.first_s + size / pace.bytes_per_s)
    except TimeoutError:
        raise TooSlow(
            f"The body did not arrive in time: {pace.first_s:g} s, and a second more for each {pace.bytes_per_s} bytes."
        ) from None


def _declared(scope: Scope) -> int | None:
    """How large its head says that the body is; None where it comes in chunks, of which nobody knows how many."""
    declared = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            declared = int(value)  # the server has refused what is no number
    return declared


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.")
