"""Chalice, made safe for many requests at once, and the reply that streams where the transport can.

Chalice keeps `current_request` on the app object: as soon as two requests run in one process, one tenant
would see another's. Here it is held for each context.
"""

import base64
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from chalice.app import Chalice, IAMAuthorizer, Request, Response, RouteEntry

from chalicelib.call import Pause, Source
from chalicelib.http.route import BINARY_TYPES
from chalicelib.http.route_table import RouteTable
from chalicelib.http.silence import streaming_transport
from chalicelib.inference.answer import Loop

_request: ContextVar[Request | None] = ContextVar("current_request", default=None)
_context: ContextVar[Any] = ContextVar("lambda_context", default=None)


class _Served(defaultdict[str, dict[str, RouteEntry]]):
    """What Chalice serves, by path. Whoever lists it, as `chalice package` does, sees all that there is."""

    def __init__(self, open_all: Callable[[], object]) -> None:
        super().__init__(dict)
        self._open_all = open_all

    def __iter__(self) -> Iterator[str]:
        self._open_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._open_all()
        return super().__len__()

    def keys(self) -> Any:
        self._open_all()
        return super().keys()

    def values(self) -> Any:
        self._open_all()
        return super().values()

    def items(self) -> Any:
        self._open_all()
        return super().items()


class Doors(Chalice):
    """The app. Everything else is Chalice as it is."""

    def __init__(self, name: str, *, configure_logs: bool) -> None:
        super().__init__(name, configure_logs=configure_logs)
        self._table = RouteTable()
        self.routes = _Served(lambda: list(self._table))

    def serve(self, table: RouteTable, modules: Mapping[str, Collection[str]]) -> None:
        """What these modules declare, each from the first request for one of its paths on."""
        self._table = table
        table.serve(modules, self.register_blueprint)

    @property
    def paths(self) -> Collection[str]:
        """Of all that is served, as API Gateway writes them; nothing is imported for it."""
        return {*self._table.paths, *dict.keys(self.routes)}

    def methods(self, path: str) -> Collection[str]:
        """Of one of the paths, which is served from now on."""
        self._table.open(path)
        return self.routes[path].keys()

    def __call__(self, event: Any, context: Any) -> Any:
        """Serve one event. Who names no Accept takes anything; Chalice would refuse them every answer, as binary."""
        self._table.open(event.get("requestContext", {}).get("resourcePath", ""))
        headers = event.get("headers") or {}
        if not any(name.lower() == "accept" for name in headers):
            event = {**event, "headers": {**headers, "accept": "*/*"}}
        return super().__call__(event, context)

    @property
    def current_request(self) -> Request | None:
        return _request.get()

    @current_request.setter
    def current_request(self, request: Request | None) -> None:
        _request.set(request)

    def asks_iam(self, template: str, method: str) -> bool:
        """Whether API Gateway would let only signed requests come here."""
        return isinstance(self.routes[template][method].authorizer, IAMAuthorizer)

    @property
    def lambda_context(self) -> Any:
        return _context.get()

    @lambda_context.setter
    def lambda_context(self, context: Any) -> None:
        _context.set(context)


Piece = bytes | Pause


class Body(Protocol):
    """A body that comes in pieces. Whoever holds it closes it; closing twice is allowed."""

    def __iter__(self) -> Iterator[Piece]: ...

    def polled(self, loop: Loop) -> Source | None:
        """Let a loop take the pieces from now on: what it waits for. None: only a thread can take them."""

    def close(self) -> None: ...


class Reply(Response):
    """A response whose body is bytes, or pieces of bytes."""

    def __init__(
        self, body: bytes | Body, headers: Mapping[str, str], status: int = 200, cookies: Sequence[str] = ()
    ) -> None:
        """`cookies`: each as `Set-Cookie` has it."""
        super().__init__(body, dict(headers), status)
        self.cookies = cookies

    def to_dict(self, binary_types: list[str] | None = None) -> dict[str, Any]:  # noqa: ARG002  # Chalice's name
        """The proxy response; for a streaming transport `body` stays bytes or pieces of bytes."""
        several = {"Set-Cookie": list(self.cookies)} if self.cookies else {}
        drawn = {
            "statusCode": self.status_code,
            "headers": self.headers,
            "multiValueHeaders": several,
            "body": self.body,
        }
        if streaming_transport.get() is not None:
            return drawn
        body = self.body
        if not isinstance(body, bytes):
            try:
                body = b"".join(piece for piece in body if not isinstance(piece, Pause))
            finally:
                self.body.close()
        if self.headers.get("Content-Type") in BINARY_TYPES or "Content-Encoding" in self.headers:
            return {**drawn, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        # Engines' answers are not read through: a byte that is no UTF-8 must not cost the caller all the others.
        return {**drawn, "body": body.decode(errors="replace")}
