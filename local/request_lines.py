"""A line on the terminal for each request that the gateway has answered, but for probes: who asked where, and what
became of it.

    POST /tenants/demo/v1/chat/completions  demo  200  57 tokens  132 ms

Never a query, a header or a body; what looks like an API key in a path is not shown either. A line is written by a
thread of its own and dropped where the terminal does not take it: no request waits for a screen.
"""

import os
import re
import time
from collections import OrderedDict
from queue import Full, Queue
from threading import Thread

from chalicelib.sight import RequestFacts, Telemetry
from emulators.asgi import Application, Message, Receive, Scope, Send
from local.layout import USER_AGENT

_OURS = (b"user-agent", USER_AGENT.encode())
_PROBES = ("/live", "/ready")  # of these our own status page asks each minute
_WAITING = 1_000
_SETTLED = 1_000
_PATH_CHARACTERS = 120
_KEY = re.compile(r"ck_[^/]*")
_TENANT = re.compile(r"/tenants/([a-z0-9-]+)(?:/|$)")


class Screen:
    """Lines to a file descriptor, in their order; those that find 1,000 before them are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: Queue[str] = Queue(_WAITING)
        Thread(target=self._write, name="screen", daemon=True).start()

    def show(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except Full:
            return

    def _write(self) -> None:
        while True:
            try:
                os.write(self._descriptor, self._lines.get().encode("ascii", "backslashreplace") + b"\n")
            except OSError:  # the terminal is gone
                return


class SettledCalls:
    """Telemetry that remembers for a while who was charged how many tokens, by request id."""

    def __init__(self, behind: Telemetry) -> None:
        self._behind = behind
        self._calls: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def request(self, facts: RequestFacts) -> None:
        if facts.lease:
            self._calls[facts.request_id] = facts.tenant, facts.tokens
            if len(self._calls) > _SETTLED:
                self._calls.popitem(last=False)
        self._behind.request(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        self._behind.count(metric, now_ms, **facts)

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        self._behind.fault(error, now_ms, **facts)

    def flush(self) -> None:
        self._behind.flush()

    def taken(self, request_id: str) -> tuple[str, int] | None:
        return self._calls.pop(request_id, None)


class RequestLines:
    """An ASGI application around the gateway's."""

    def __init__(self, application: Application, settled: SettledCalls, screen: Screen) -> None:
        self._application = application
        self._settled = settled
        self._screen = screen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _OURS in scope["headers"] or scope["path"] in _PROBES:
            return await self._application(scope, receive, send)
        began_s = time.monotonic()
        start: Message = {"status": 0, "headers": ()}

        async def sent(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            await send(message)

        try:
            await self._application(scope, receive, sent)
        finally:
            # When the body has been sent: a stream settles before its last byte.
            self._screen.show(self._line(scope, start, time.monotonic() - began_s))

    def _line(self, scope: Scope, start: Message, seconds: float) -> str:
        path = scope["raw_path"].decode("latin-1")
        ids = [value.decode("latin-1") for name, value in start["headers"] if name == b"x-request-id"]
        settled = self._settled.taken(ids[0]) if ids else None
        named = _TENANT.match(path)
        tenant = settled[0] if settled else named[1] if named else "-"
        return request_line(scope["method"], path, tenant, start["status"], settled and settled[1], seconds)


def request_line(method: str, path: str, tenant: str, status: int, tokens: int | None, seconds: float) -> str:
    """`status` 0: the client left before there was one. `tokens` None: no model was asked."""
    shown = _KEY.sub("ck_...", path)
    if len(shown) > _PATH_CHARACTERS:
        shown = shown[: _PATH_CHARACTERS - 3] + "..."
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    used = [] if tokens is None else [f"{tokens} tokens"]
    return "  ".join(
        [f"{method} {shown}", tenant, str(status) if status else "left", *used, f"{seconds * 1000:.0f} ms"]
    )
