"""A change that somebody asked for, and what became of it. Values."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for a change of what, before it was made."""

    log: str = ""  # in which it stands
    id: str = ""  # sorts by time
    at_ms: int = 0
    tenant: str  # whose things: the platform's own, where it is no tenant's
    subject: str  # who: "key:<id>", "member:<subject>", or the ARN of an IAM principal
    proof: str  # that it was they, as a principal has it
    by: str  # the tenant that they belong to: the platform's, for an operator
    action: str  # the route, by its name in the OpenAPI document
    object: str  # what the path names below the tenant; "" where it names nothing
    source_ip: str
    request_id: str
    reason: str = ""


class Ended(msgspec.Struct, frozen=True):
    """What became of it."""

    log: str
    id: str
    of: str  # the event's id
    at_ms: int
    status: int  # of the answer: HTTP's
    made: str  # the id of what was made; "" where nothing was


class Change(msgspec.Struct, frozen=True):
    """Both. None: nobody knows whether it was made, for whoever was making it died, or could not write any more."""

    event: Event
    ended: Ended | None
