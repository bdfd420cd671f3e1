"""A surface is a blueprint whose doors are data: served, guarded and described from one table."""

from collections.abc import Callable, Collection, Mapping
from types import FunctionType, MappingProxyType
from typing import Any

import msgspec
from chalice.app import Blueprint, IAMAuthorizer

from chalicelib import wiring
from chalicelib.http import problems
from chalicelib.http.callers import Caller, let_in, must_be_known
from chalicelib.http.cross_origin import headers_for, headers_for_its_own, origin_of, preflight
from chalicelib.http.doors import Reply
from chalicelib.http.ids import Ids, ids_of
from chalicelib.http.incoming import Incoming, incoming, taken_as
from chalicelib.http.journalled import Work, journalled
from chalicelib.http.route import Auth, ForNarrowed, Needed, Route
from chalicelib.http.route_table import ROUTES
from chalicelib.http.shapes import SHAPES
from chalicelib.http.told import tell_of_answer, tell_of_refusal
from chalicelib.http.visit import visiting
from chalicelib.refusal import Malformed, NoCapacity, Refusal, StoreUnavailable, TooLarge
from chalicelib.tenancy.tenant import SurfaceName

View = Callable[..., Any]
"""`view(asked)`, or `view(asked, caller)` where its route tells who calls."""


class Surface(Blueprint):
    """A blueprint whose views take an `Incoming` and give a value, or a `Reply`."""

    def __init__(self, import_name: str, name: SurfaceName, *, title: str, prefix: str, auth: Auth) -> None:
        """`title`: what its doors are called together; `prefix`: of all their paths, which says what shape their errors
        have."""
        super().__init__(import_name)
        self._module = import_name
        self._title = title
        self._name = name
        self._prefix = prefix
        self._shape = SHAPES.of(prefix)
        self._auth = auth
        ROUTES.declare(import_name, self)

    def door(
        self,
        method: str,
        path: str,
        *,
        permission: Needed,
        summary: str,
        accepts: Any = None,
        returns: Any = None,
        returns_to_anthropic: Any = None,
        query: Any = None,
        headers: tuple[str, ...] = (),
        status: int = 200,
        streams: bool = False,
        infers: bool = False,
        clear_only: bool = False,
        for_narrowed: ForNarrowed | None = None,
        for_sealers: bool = False,
        for_every_surface: bool = False,
        probes: bool = False,
        at_once: bool = False,
        names: Callable[[Any], str] | None = None,
        own_statuses: Mapping[int, str] = MappingProxyType({}),
        other_forms: Mapping[str, str] = MappingProxyType({}),
        name: str = "",
    ) -> Callable[[View], View]:
        """Serve `method path` with the view, and list it in ROUTES; by `name`, where the view has several doors.

        `for_narrowed` may be left out, for "within", where nothing is changed, or a model is run. What any other door
        does stands in the journal: by the id that `names` finds in what was made there, where something was.
        Whatever the view raises becomes an error body here, under Chalice's `@route`: Chalice would turn
        it into a 500 of its own before any middleware saw it.
        """
        assert path.startswith(self._prefix), path

        def register(view: View) -> View:
            route = Route(
                method=method,
                path=path.replace("+}", "}"),
                resource=path,
                name=name or view.__name__,
                summary=summary,
                surface=self._name,
                auth=self._auth,
                shape=self._shape,
                permission=permission,
                accepts=accepts,
                returns=returns,
                returns_to_anthropic=returns_to_anthropic,
                query=query,
                headers=headers,
                status=status,
                streams=streams,
                infers=infers,
                clear_only=clear_only,
                for_narrowed=for_narrowed or "within",
                for_sealers=for_sealers,
                for_every_surface=for_every_surface,
                probes=probes,
                at_once=at_once,
                names=names,
                own_statuses=own_statuses,
                other_forms=other_forms,
                module=self._module,
                title=self._title,
                description=view.__doc__ or "",
            )
            assert infers == (permission == "infer"), "who runs a model is admitted, and who is admitted must hold it"
            assert for_narrowed or infers or method == "GET", "who may change something says what a narrowed key may"
            assert isinstance(view, FunctionType)
            # Not by `inspect`, which takes longer to import than all of the doors.
            assert (view.__code__.co_argcount == 2) == route.tells_who, "a view takes whom it is told, and no other"
            first = not ROUTES.at(path)
            ROUTES.add(route)
            work: Work = view if route.tells_who else lambda asked, _: view(asked)
            if route.changes:
                work = journalled(route, work)

            def served(**_path: str) -> Reply:
                return self._serve(route, work)

            served.__name__ = route.name
            options = {"authorizer": IAMAuthorizer()} if route.signed else {}
            # No content types: Chalice would answer a wrong one in its own shape. `Incoming.json` checks.
            self.route(path, methods=list(route.methods), name=route.name, content_types=[], **options)(served)
            if route.for_pages and first:
                self._answer_preflights(path)
            return view

        return register

    def _answer_preflights(self, path: str) -> None:
        """A browser asks without a key whether a page may call, once for all that is served there."""

        def served(tenant: str, **_path: str) -> Reply:
            event = self.current_request.to_original_event()
            methods = {"OPTIONS", *ROUTES.at(path)}
            return answer_to_preflight(event, tenant, methods, self._shape, ids_of(event))

        self.route(path, methods=["OPTIONS"], name="preflight", content_types=[])(served)

    def _serve(self, route: Route, work: Work) -> Reply:
        event = self.current_request.to_original_event()
        path = wiring.path()
        visit = visiting.get()
        asked = None if visit is None else visit.asked
        ids = ids_of(event) if asked is None else asked.ids
        _, shape = taken_as(event, route)
        try:
            if asked is None:
                asked = incoming(event, route, path.clock(), ids)
            answer = _answered(route, work, asked, event, path.settings.body_limit_bytes)
            reply = answer if isinstance(answer, Reply) else drawn(answer, route.status)
            for_page = headers_for_its_own
            tell_of_answer(route, asked.tenant, ids, asked.arrived_ms)
        except Exception as error:
            reply = refused(error, shape, ids)
            for_page = headers_for
            tell_of_refusal(error, route, ids, None if asked is None else asked.arrived_ms)
        return _dressed(reply, route, event, shape, ids, for_page)


def named_routes(surface: SurfaceName | None = None) -> list[str]:
    """What somebody can be narrowed to, as `Route.called`. `surface`: None: on all; else only where it is not that."""
    return [route.called for route in ROUTES if route.permission != "public" and route.surface != surface]


def turned_away(error: Exception, route: Route | None, event: Mapping[str, Any], *, reads: bool) -> Reply:
    """What is answered instead of its route's view. `reads`: the tenant's origins, where they are not remembered."""
    ids = ids_of(event)
    if route is None:
        reply = refused(error, SHAPES.of(event["path"]), ids)
        reply.headers |= headers_of(ids)
        return reply
    _, shape = taken_as(event, route)
    tell_of_refusal(error, route, ids)
    for_page = headers_for if reads else headers_for_its_own
    return _dressed(refused(error, shape, ids), route, event, shape, ids, for_page)


def _dressed(
    reply: Reply,
    route: Route,
    event: Mapping[str, Any],
    shape: problems.Shape,
    ids: Ids,
    for_page: Callable[[str | None, str], dict[str, str]],
) -> Reply:
    """With the headers that every answer has; `for_page`: those by which a page of another origin may read it."""
    reply.headers.setdefault("X-Request-ID", ids.request_id)
    reply.headers["X-Trace-Id"] = ids.trace.trace_id
    if shape == "anthropic":
        reply.headers["Request-Id"] = ids.request_id  # where Anthropic's SDKs look for it
    if route.for_pages and ((origin := origin_of(event)) or route.method == "GET"):  # which a browser may keep
        reply.headers.update(for_page(origin, event["pathParameters"]["tenant"]))
    return reply if event["httpMethod"] != "HEAD" else without_body(reply)


def _answered(route: Route, work: Work, asked: Incoming, event: Mapping[str, Any], body_limit: int) -> Any:
    """What the view answers. Who is calling is judged before what they send."""
    caller = let_in(route, asked)
    try:
        asked = asked.with_body(event, body_limit)
        if asked.query or (asked.body and route.accepts is None):
            from chalicelib.http.strays import must_have_a_place  # most requests have none of this

            must_have_a_place(asked, event, route)
        return work(asked, caller)
    except Refusal as refusal:
        if isinstance(refusal, Malformed | TooLarge) and route.infers and not refusal.admitted:
            refusal.tenant = must_be_known(asked)
        elif caller is not None:
            refusal.tenant = (caller.principal if isinstance(caller, Caller) else caller).tenant
        raise


def headers_of(ids: Ids) -> dict[str, str]:
    return {"X-Request-ID": ids.request_id, "X-Trace-Id": ids.trace.trace_id}


def answer_to_preflight(
    event: Mapping[str, Any], tenant: str, methods: Collection[str], shape: problems.Shape, ids: Ids
) -> Reply:
    try:
        reply = Reply(b"", preflight(event, tenant, methods), 204)
    except Exception as error:
        reply = refused(error, shape, ids)
        reply.headers["Vary"] = "Origin"
    reply.headers |= headers_of(ids)
    return reply


def drawn(value: Any, status: int) -> Reply:
    """A value as a JSON reply; None as one without a body."""
    if value is None:
        return Reply(b"", {}, status)
    return Reply(msgspec.json.encode(value), {"Content-Type": "application/json"}, status)


def without_body(reply: Reply) -> Reply:
    """What HEAD answers: all that GET would, but the body (RFC 9110, section 9.3.2)."""
    if isinstance(reply.body, bytes):
        reply.headers["Content-Length"] = str(len(reply.body))
    else:
        reply.body.close()
    reply.body = b""
    return reply


def refused(error: Exception, shape: problems.Shape, ids: Ids) -> Reply:
    """An error as a reply in the route's own shape. What is not a Refusal is counted, and shown without its text."""
    error = error_to_show(error, ids)
    headers = problems.headers_of(error, shape)
    if shape == "bedrock":
        headers["X-Amzn-RequestId"] = ids.request_id  # where AWS's SDKs look for it
    body = problems.body_of(error, shape, ids.request_id)
    return Reply(msgspec.json.encode(body), headers, problems.status_of(error, shape))


def error_to_show(error: Exception, ids: Ids) -> Exception:
    """The error as callers see it; faults of ours are counted where they pass."""
    if isinstance(error, StoreUnavailable):
        return NoCapacity("The service's store does not answer. Try again shortly.", retry_in_ms=1_000)
    if not isinstance(error, Refusal):
        path = wiring.path()
        path.telemetry.fault(error, path.clock(), request_id=ids.request_id, trace_id=ids.trace.trace_id)
    return error
