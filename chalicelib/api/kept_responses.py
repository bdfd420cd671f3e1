"""Responses that were kept, because a tenant asked for it: looked at, deleted, and gone on with.

They are kept for as many days as the tenant's ledger (`retention_days`), encrypted under the tenant's data key, and are
there for every key of the tenant that may manage them and use their model.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.identity.principal import Principal
from chalicelib.refusal import Malformed, NotFound, StoreUnavailable, TooLarge
from chalicelib.tenancy.tenant import Tenant

if TYPE_CHECKING:
    from chalicelib.dialects.responses.history import Kept

surface = Surface(
    __name__,
    "openai",
    title="OpenAI Responses that were kept",
    prefix="/tenants/{tenant}/v1/responses",
    auth="key",
)

DAY_MS = 86_400_000
MOST_TURNS = 100
"""Of a conversation that is gone on with by `previous_response_id`: each is a read of the store."""

NOTHING_KEPT = "Nothing is kept here: leave `store` out or let it be false, and send the whole conversation as `input`."

# By name for the AI SDK: it refers to items unless it is told `store: false`, whatever a Response's own `store` says.
NO_REFERENCES = (
    "send items themselves, as clients do that are told `store: false` "
    "(in the AI SDK, `providerOptions: { openai: { store: false } }`)."
)
KEEP_OR_NO_REFERENCES = f"send `store: true` with every request, which keeps its answer; or {NO_REFERENCES}"


class RetrieveQuery(msgspec.Struct, frozen=True):
    stream: bool | None = None


class ItemsQuery(msgspec.Struct, frozen=True):
    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"


class KeptResponse(msgspec.Struct, frozen=True):
    """As it was answered."""

    id: str
    object: Literal["response"] = "response"


class Deleted(msgspec.Struct, frozen=True):
    """What is no longer there."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class Items(msgspec.Struct, frozen=True):
    """Items of an input."""

    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class About(msgspec.Struct, frozen=True):
    """What else is kept of a Response."""

    pool: str


@surface.door(
    "GET", "/tenants/{tenant}/v1/responses/{response}", permission="responses.manage",
    summary="Look at a Response that was kept", query=RetrieveQuery, returns=KeptResponse,
)  # fmt: skip
def retrieve_response(asked: Incoming, caller: Caller) -> Reply:
    """As it was answered, as long as it is kept."""
    if asked.query_as(RetrieveQuery).stream:
        raise Malformed("A Response that is over is not streamed again: leave out `stream`.", field="stream")
    fields = _found(asked.parameters["response"], caller.principal)
    return Reply(fields["response"], {"Content-Type": "application/json"})


@surface.door(
    "DELETE", "/tenants/{tenant}/v1/responses/{response}", permission="responses.manage", for_narrowed="within",
    summary="Delete a Response that was kept", returns=Deleted,
)  # fmt: skip
def delete_response(asked: Incoming, caller: Caller) -> Deleted:
    """To the last byte: what was asked and what was answered."""
    name = asked.parameters["response"]
    _found(name, caller.principal)
    if contents := wiring.contents():
        contents.forget(caller.principal.tenant, name)
    return Deleted(name)


@surface.door(
    "GET", "/tenants/{tenant}/v1/responses/{response}/input_items", permission="responses.manage",
    summary="List what a Response that was kept was asked", query=ItemsQuery, returns=Items,
)  # fmt: skip
def list_input_items(asked: Incoming, caller: Caller) -> Items:
    """Page by page: `after` is the id of the last item of the page before."""
    query = asked.query_as(ItemsQuery)
    name = asked.parameters["response"]
    kept = msgspec.json.decode(_found(name, caller.principal)["asked"], type=list[dict[str, Any]])
    own = name.removeprefix("resp_")
    items = [{"id": f"in_{own}_{number}", "type": "message", **item} for number, item in enumerate(kept)]
    if query.order == "desc":
        items.reverse()
    begun = 0
    if query.after is not None:
        ids = [item["id"] for item in items]
        if query.after not in ids:
            raise Malformed("`after` is no item of this input. Begin anew, without it.", field="after")
        begun = ids.index(query.after) + 1
    shown = items[begun : begun + query.limit]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return Items(shown, first, last, begun + query.limit < len(items))


class Keeping:
    """One Response that is to be kept. Safe to leave from another thread."""

    def __init__(self, asked: Incoming, tenant: Tenant, pool: str, items: Sequence[msgspec.Raw]) -> None:
        contents = wiring.contents()
        if contents is None:
            raise Malformed(NOTHING_KEPT, field="store")
        self._contents = contents
        self._tenant = tenant.id
        self._id = f"resp_{asked.request_id}"
        self._expires_ms = asked.arrived_ms + tenant.retention_days * DAY_MS
        self._fields = {"about": msgspec.json.encode(About(pool)), "asked": msgspec.json.encode(items)}
        self._claimed = False  # and nothing is kept under it so far
        self._lock = Lock()

    def must_be_free(self) -> None:
        """See, before a model is run for nothing, that no other has its id. Raises: Conflict, StoreUnavailable."""
        self._contents.must_be_free(self._tenant, self._id)

    def begin(self) -> None:
        """Raises: Conflict, StoreUnavailable."""
        self._contents.claim(self._tenant, self._id, self._expires_ms)
        self._claimed = True

    def end(self, response: bytes) -> None:
        """Raises: StoreUnavailable."""
        with self._lock:
            if self._claimed:
                self._contents.keep(self._tenant, self._id, {**self._fields, "response": response}, self._expires_ms)
                self._claimed = False

    def give_up(self) -> None:
        """The answer is none: its id may be another's."""
        with self._lock, suppress(StoreUnavailable):
            self._claimed = False
            self._contents.forget(self._tenant, self._id)

    def leave(self) -> None:
        """Nobody waits for the answer any more, which is kept by now, or will never be."""
        if self._claimed:
            with self._lock, suppress(StoreUnavailable):
                if self._claimed:
                    self._claimed = False
                    self._contents.forget(self._tenant, self._id)


def gone_on(
    fields: Mapping[str, msgspec.Raw], previous: str | None, principal: Principal, limit_bytes: int
) -> tuple[list[msgspec.Raw], msgspec.Raw]:
    """The items that are asked now, with those they refer to in place; and the input with the conversation before them.

    Raises: NotFound, Malformed, TooLarge; StoreUnavailable.
    """
    from chalicelib.dialects.responses import history  # not at the top, as in `engines.begin`

    items = history.items_of(fields)
    referred = history.responses_of(items)
    if len(referred) > MOST_TURNS:
        raise TooLarge(f"The input refers to items of more than {MOST_TURNS} Responses: send the items themselves.")
    room = limit_bytes
    if referred:
        found = (kept for name in sorted(referred) if (kept := _kept(name, principal)))
        instead = NO_REFERENCES if wiring.contents() is None else KEEP_OR_NO_REFERENCES
        asked, items = items, history.resolved(items, found, instead)
        # One long answer may be referred to a hundred thousand times.
        room -= sum(len(item) for item, sent in zip(items, asked, strict=True) if item is not sent)
        if room < 0:
            raise TooLarge("The items that the input refers to are too long together: refer to fewer.")
    earlier: list[Kept] = []
    while previous is not None:
        kept = _kept(previous, principal)
        if kept is None:
            raise NotFound(
                f"There is no Response {previous[:80]!r} to go on with: send the whole conversation as `input`.",
                field="previous_response_id",
            )
        room -= sum(len(item) for item in (*kept.asked, *kept.answered))
        if room < 0 or len(earlier) == MOST_TURNS:
            raise TooLarge("The conversation has become too long to go on with: begin another one.")
        earlier.append(kept)
        previous = kept.previous
    return items, history.before(reversed(earlier), items)


def _kept(name: str, principal: Principal) -> "Kept | None":
    from chalicelib.dialects.responses import history

    fields = _read(name, principal)
    return None if fields is None else history.read(fields["asked"], fields["response"])


def _found(name: str, principal: Principal) -> dict[str, bytes]:
    fields = _read(name, principal)
    if fields is None:
        raise NotFound(f"There is no Response {name[:80]!r} that was kept.")
    return fields


def _read(name: str, principal: Principal) -> dict[str, bytes] | None:
    """None also where the key may not use the model that answered."""
    contents = wiring.contents()
    fields = None if contents is None else contents.read(principal.tenant, name)
    if fields is None or not principal.may_use(msgspec.json.decode(fields["about"], type=About).pool):
        return None
    return fields
