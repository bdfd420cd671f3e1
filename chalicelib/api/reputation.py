"""What operators say of addresses, for all tenants: networks denied or watched, and how many tenants one may call."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.refusal import Malformed
from chalicelib.tenancy.tenant import MOST_RULES, VelocityRule
from chalicelib.velocity.networks import MOST_ENTRIES, ListedNetwork, Networks, must_be_sound

surface = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")

Entries = Annotated[tuple[ListedNetwork, ...], msgspec.Meta(max_length=MOST_ENTRIES)]


class ReputationRequest(msgspec.Struct, frozen=True):
    """All entries of both lists. `version`: that they replace, as GET says it; left out: whichever there is.

    `without_me`: also where that locks out whoever asks.
    """

    entries: Entries
    version: int | None = None
    without_me: bool = False


class ReputationLists(msgspec.Struct, frozen=True):
    """All entries of both lists; `version` grows with each change."""

    entries: Entries
    version: int


class AddressRules(msgspec.Struct, frozen=True):
    """How many different `tenants` one address may call."""

    rules: Annotated[tuple[VelocityRule, ...], msgspec.Meta(max_length=MOST_RULES)]


@surface.door(
    "GET", "/admin/reputation", permission="operate",
    summary="Networks that are denied or watched", returns=ReputationLists,
)  # fmt: skip
def show_reputation(_: Incoming) -> ReputationLists:
    """Those that have expired, too, which count no more."""
    entries, _head, version = wiring.path().velocity.reputation.entries()
    return ReputationLists(tuple(entries), version)


@surface.door(
    "PUT", "/admin/reputation", permission="operate", for_narrowed="closed",
    summary="Say which networks are denied or watched", accepts=ReputationRequest, returns=ReputationLists,
)  # fmt: skip
def put_reputation(asked: Incoming) -> ReputationLists:
    """These, and no others, at every gateway within 15 s. Streams that run go on."""
    request, path = asked.json(ReputationRequest), wiring.path()
    must_be_sound(request.entries)
    denied = Networks([entry for entry in request.entries if entry.list == "deny"])
    if not request.without_me and denied.entry_for(asked.source, path.clock()) is not None:
        raise Malformed(
            f"This would lock you out: your request came from {asked.source}. Leave that out, or send `without_me`: "
            "true.",
            field="entries",
        )
    mark = path.randomness(6).hex()
    version = path.velocity.reputation.put_entries(request.entries, request.version, mark, path.clock())
    return ReputationLists(request.entries, version)


@surface.door(
    "GET", "/admin/velocity", permission="operate",
    summary="How many tenants one address may call", returns=AddressRules,
)  # fmt: skip
def list_address_rules(_: Incoming) -> AddressRules:
    return AddressRules(tuple(wiring.path().velocity.reputation.rules()))


@surface.door(
    "PUT", "/admin/velocity", permission="operate", for_narrowed="closed",
    summary="Say how many tenants one address may call", accepts=AddressRules, returns=AddressRules,
)  # fmt: skip
def put_address_rules(asked: Incoming) -> AddressRules:
    """These rules, and no others, at every gateway within 15 s."""
    wanted = asked.json(AddressRules)
    wiring.path().velocity.reputation.put_rules(wanted.rules)
    return wanted
