"""Doors by which something is changed that lasts: each change stands in the journal, written here and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chalicelib import wiring
from chalicelib.http import problems
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.problems import Shape
from chalicelib.http.route import Route
from chalicelib.identity import Principal
from chalicelib.journal import Event
from chalicelib.refusal import StoreUnavailable
from chalicelib.tenancy import PLATFORM_TENANT

LONGEST_OBJECT = 300
"""Characters of what a path names: those of every name that there is."""

Work = Callable[[Incoming, Any], Any]
"""What a view does for whoever comes in."""


def journalled(route: Route, work: Work) -> Work:
    """The same, between the two halves of its event.

    It raises what `work` does, and StoreUnavailable before it, with nothing changed, where the first half cannot be
    written. The second one is counted where it is lost: what was changed stays changed, and its caller is to know.
    """

    def changing(asked: Incoming, caller: Caller | Principal) -> Any:
        tenants, event = _event(route, asked, caller.principal if isinstance(caller, Caller) else caller)
        with written(tenants, event, route.shape) as outcome:
            answer = work(asked, caller)
            outcome.status = answer.status_code if isinstance(answer, Reply) else route.status
            outcome.made = route.names(answer) if route.names else ""
        return answer

    return changing


class Outcome:
    """What became of a change; whoever makes it says so, where it is more than that it was made."""

    def __init__(self) -> None:
        self.status = 200
        self.made = ""


@contextmanager
def written(tenants: tuple[str, ...], event: Event, shape: Shape) -> Iterator[Outcome]:
    """What is done within it stands between the two halves of its event, in the logs of these tenants."""
    outcome = Outcome()
    event = wiring.journal().begin(tenants, event)
    try:
        yield outcome
    except Exception as error:
        status = 503 if isinstance(error, StoreUnavailable) else problems.status_of(error, shape)
        _end(tenants, event, status, "")
        raise
    _end(tenants, event, outcome.status, outcome.made)


def _event(route: Route, asked: Incoming, by: Principal) -> tuple[tuple[str, ...], Event]:
    """What is asked for, and in whose logs that stands: an operator's in the platform's, too. Raises NotFound."""
    named = asked.parameters.get("tenant")
    # Nothing is kept under the name of a tenant that there is not: somebody may be given that name one day.
    tenant = wiring.tenancy().tenant(named).id if named and by.tenant != named else by.tenant
    event = Event(
        tenant=tenant,
        subject=by.subject,
        proof=by.proof,
        by=by.tenant,
        action=route.name,
        object="/".join(value for name, value in asked.parameters.items() if name != "tenant")[:LONGEST_OBJECT],
        source_ip=asked.source_ip,
        request_id=asked.request_id,
        reason=_reason(route, asked),
    )
    logs = (PLATFORM_TENANT, tenant) if route.permission == "operate" else (tenant,)
    return tuple(dict.fromkeys(logs)), event


def _reason(route: Route, asked: Incoming) -> str:
    """Where the door's body has one. Raises Malformed."""
    if route.accepts is None or "reason" not in getattr(route.accepts, "__struct_fields__", ()):
        return ""
    return str(asked.json(route.accepts).reason)


def _end(tenants: tuple[str, ...], event: Event, status: int, made: str) -> None:
    try:
        wiring.journal().end(tenants, event, status, made)
    except StoreUnavailable:
        path = wiring.path()
        path.telemetry.count("ChangeUnended", path.clock(), event=event.id, tenant=event.tenant, action=event.action)
