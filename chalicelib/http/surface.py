"""A surface is a blueprint that knows what its routes take and give: they are served, and described, from one table."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from chalice.app import Blueprint, IAMAuthorizer

from chalicelib import wiring
from chalicelib.http import problems
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming, incoming, request_id_of
from chalicelib.refusal import NoCapacity, Refusal
from chalicelib.tables import StoreUnavailable

Auth = Literal["none", "key", "iam"]
View = Callable[[Incoming], Any]


class Route(msgspec.Struct, frozen=True):
    """One row of the route table: what OpenAPI says of a route, and what serves it."""

    method: str
    path: str
    name: str
    summary: str
    auth: Auth
    shape: problems.Shape
    accepts: Any  # the body's type; None: no body
    returns: Any  # the answer's type; None: no body
    query: Any  # the query's type; None: none is read
    headers: tuple[str, ...]  # request headers that mean something here, besides the credential's
    status: int
    streams: bool  # may answer text/event-stream
    infers: bool  # runs a model: its answer carries the inference headers, and may be refused as one
    own_statuses: Mapping[int, str]  # other statuses that come with `returns`

    @property
    def seals(self) -> bool:
        """Takes sealed requests as well."""
        return self.infers and self.auth == "key" and self.shape != "anthropic"

    @property
    def exports(self) -> bool:
        """Answers in CSV as well, where its query says so."""
        return self.query is not None and "format" in self.query.__struct_fields__


ROUTES: list[Route] = []


class Surface(Blueprint):
    """A blueprint whose views take an `Incoming` and give a value, or a `Reply`."""

    def __init__(self, import_name: str, shape: problems.Shape, auth: Auth) -> None:
        super().__init__(import_name)
        self._shape = shape
        self._auth = auth

    def door(
        self,
        method: str,
        path: str,
        *,
        summary: str,
        accepts: Any = None,
        returns: Any = None,
        query: Any = None,
        headers: tuple[str, ...] = (),
        status: int = 200,
        streams: bool = False,
        infers: bool = False,
        own_statuses: Mapping[int, str] = MappingProxyType({}),
    ) -> Callable[[View], View]:
        """Serve `method path` with the view, and list it in ROUTES.

        Whatever the view raises becomes an error body here, under Chalice's `@route`: Chalice would turn
        it into a 500 of its own before any middleware saw it.
        """

        def register(view: View) -> View:
            ROUTES.append(
                Route(
                    method, path, view.__name__, summary, self._auth, self._shape,
                    accepts, returns, query, headers, status, streams, infers, own_statuses,
                )
            )  # fmt: skip

            def served(**_path: str) -> Reply:
                return self._serve(view, status)

            served.__name__ = view.__name__
            options = {"authorizer": IAMAuthorizer()} if self._auth == "iam" else {}
            # No content types: Chalice would answer a wrong one in its own shape. `Incoming.json` checks.
            self.route(path, methods=[method], name=view.__name__, content_types=[], **options)(served)
            return view

        return register

    def _serve(self, view: View, status: int) -> Reply:
        event = self.current_request.to_original_event()
        house = wiring.house()
        request_id = request_id_of(event, fresh := house.randomness(12).hex())
        try:
            asked = incoming(event, house.clock(), fresh, house.settings.body_limit_bytes)
            answer = view(asked)
            reply = answer if isinstance(answer, Reply) else drawn(answer, status)
        except Exception as error:
            reply = refused(error, self._shape, request_id)
        reply.headers.setdefault("X-Request-ID", request_id)
        if self._shape == "anthropic":
            reply.headers["Request-Id"] = request_id  # where Anthropic's SDKs look for it
        return reply


def drawn(value: Any, status: int) -> Reply:
    """A value as a JSON reply; None as one without a body."""
    if value is None:
        return Reply(b"", {}, status)
    return Reply(msgspec.json.encode(value), {"Content-Type": "application/json"}, status)


def refused(error: Exception, shape: problems.Shape, request_id: str) -> Reply:
    """An error as a reply in the route's own shape. What is not a Refusal is counted, and shown without its text."""
    error = seen(error, request_id)
    return Reply(
        msgspec.json.encode(problems.body_of(error, shape, request_id)),
        problems.headers_of(error, shape),
        problems.status_of(error, shape),
    )


def seen(error: Exception, request_id: str) -> Exception:
    """The error as it may be shown; faults of ours are counted where they pass."""
    if isinstance(error, StoreUnavailable):
        return NoCapacity("The service's store does not answer. Try again shortly.", retry_in_ms=1_000)
    if not isinstance(error, Refusal):
        house = wiring.house()
        house.telemetry.fault(error, house.clock(), request_id=request_id)
    return error
