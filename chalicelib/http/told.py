"""What sight is told of requests that the ledger has no entry of: those refused, and those that run no model."""

from chalicelib import wiring
from chalicelib.http.ids import Ids
from chalicelib.http.route import Route
from chalicelib.refusal import Refusal, StoreUnavailable
from chalicelib.sight import RequestFacts


def tell_of_refusal(error: Exception, route: Route, ids: Ids, arrived_ms: int | None = None) -> None:
    """Of a request that was not admitted. What had been admitted has a line by its settlement, a bug its own."""
    if route.about_us or not isinstance(error, Refusal | StoreUnavailable):
        return
    if isinstance(error, Refusal) and error.admitted:
        return
    tenant, pool = (error.tenant, error.pool) if isinstance(error, Refusal) else ("", "")
    path = wiring.path()
    now_ms = path.clock()
    path.telemetry.request(
        RequestFacts(
            "Refused",
            tenant=tenant,
            request_id=ids.request_id,
            route=route.called,
            arrived_ms=now_ms if arrived_ms is None else arrived_ms,
            ended_ms=now_ms,
            trace=ids.trace,
            reason=type(error).__name__,
            pool=pool,
        )
    )


def tell_of_answer(route: Route, tenant: str | None, ids: Ids, arrived_ms: int) -> None:
    """Of a request that needed no admission. Who asks how a process is does so all the time, and is not told of."""
    if route.infers or route.about_us:
        return
    path = wiring.path()
    path.telemetry.request(
        RequestFacts(
            "Answered",
            tenant=tenant if tenant is not None and route.permission != "public" else "",
            request_id=ids.request_id,
            route=route.called,
            arrived_ms=arrived_ms,
            ended_ms=path.clock(),
            trace=ids.trace,
        )
    )
