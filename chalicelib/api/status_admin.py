"""The status page, as operators keep it: what is watched, what they say of a fault, and what they announce."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.api.status import boards_here
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.status.component import MOST_COMPONENTS, Component
from chalicelib.status.incidents import Incident, NewIncident, NewUpdate
from chalicelib.status.maintenance import NewWindow, Window

surface = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")


class ComponentList(msgspec.Struct, frozen=True):
    """What the page shows, in this order."""

    components: Annotated[tuple[Component, ...], msgspec.Meta(max_length=MOST_COMPONENTS)]


class IncidentList(msgspec.Struct, frozen=True):
    """The last one first."""

    incidents: list[Incident]


class WindowList(msgspec.Struct, frozen=True):
    """By when they begin."""

    windows: list[Window]


@surface.door(
    "GET", "/admin/status/components", permission="operate",
    summary="What the status page watches", returns=ComponentList,
)  # fmt: skip
def list_components(_: Incoming) -> ComponentList:
    """Where nobody has said: the API and sign-in, as far as there are such."""
    return ComponentList(tuple(boards_here().components()))


@surface.door(
    "PUT", "/admin/status/components", permission="operate", for_narrowed="closed",
    summary="Say what the status page watches", accepts=ComponentList, returns=ComponentList,
)  # fmt: skip
def put_components(asked: Incoming) -> ComponentList:
    """These, and no others, from the next minute on. What was measured of an id stays its own."""
    wanted = asked.json(ComponentList)
    boards_here().put_components(wanted.components)
    return wanted


@surface.door(
    "GET", "/admin/status/incidents", permission="operate", summary="All incidents", returns=IncidentList,
)  # fmt: skip
def list_incidents(_: Incoming) -> IncidentList:
    return IncidentList(boards_here().incidents.all())


@surface.door(
    "POST", "/admin/status/incidents", permission="operate", for_narrowed="closed",
    summary="Tell of a fault", accepts=NewIncident, returns=Incident, status=201, names=lambda made: made.id,
)  # fmt: skip
def open_incident(asked: Incoming) -> Incident:
    """It stands on the page within seconds, until an update says `resolved`."""
    boards, path = boards_here(), wiring.path()
    return boards.incidents.open(asked.json(NewIncident), boards.ids(), path.randomness(6).hex(), path.clock())


@surface.door(
    "POST", "/admin/status/incidents/{incident}/updates", permission="operate", for_narrowed="closed",
    summary="Tell how it goes on", accepts=NewUpdate, returns=Incident, status=201,
)  # fmt: skip
def update_incident(asked: Incoming) -> Incident:
    boards = boards_here()
    return boards.incidents.add(
        asked.parameters["incident"], asked.json(NewUpdate), boards.ids(), wiring.path().clock()
    )


@surface.door(
    "GET", "/admin/status/maintenance", permission="operate",
    summary="What is announced, and was of late", returns=WindowList,
)  # fmt: skip
def list_maintenance(_: Incoming) -> WindowList:
    return WindowList(list(boards_here().maintenance.all()))


@surface.door(
    "POST", "/admin/status/maintenance", permission="operate", for_narrowed="closed",
    summary="Announce maintenance", accepts=NewWindow, returns=Window, status=201, names=lambda made: made.id,
)  # fmt: skip
def announce_maintenance(asked: Incoming) -> Window:
    """Before it begins. What is away within it counts as planned, not as down."""
    boards, path = boards_here(), wiring.path()
    return boards.maintenance.announce(asked.json(NewWindow), boards.ids(), path.randomness(6).hex(), path.clock())


@surface.door(
    "DELETE", "/admin/status/maintenance/{window}", permission="operate", for_narrowed="closed",
    summary="Take back what was announced, or end it now", status=204,
)  # fmt: skip
def take_back_maintenance(asked: Incoming) -> None:
    boards_here().maintenance.take_back(asked.parameters["window"], wiring.path().clock())
