"""Fair use, as a tenant's owners watch over it: rules of velocity of their own, and what broke them."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.tenancy.tenant import MOST_RULES, Tenant, VelocityRule
from chalicelib.tenancy.velocity import MOST_KEYS
from chalicelib.velocity.reviews import Review, review_id
from chalicelib.velocity.whose import keys, owners

surface = Surface(__name__, "management", title="Fair use", prefix="/tenants/{tenant}", auth="key")

OwnRules = Annotated[tuple[VelocityRule, ...], msgspec.Meta(max_length=MOST_RULES)]
ByKey = Annotated[dict[str, OwnRules], msgspec.Meta(max_length=MOST_KEYS)]


class OwnVelocity(msgspec.Struct, frozen=True):
    """How many different prompts, keys and addresses the tenant may call with, and single keys, by their ids."""

    rules: OwnRules = ()
    keys: ByKey = {}


class OwnVelocityView(msgspec.Struct, frozen=True):
    """The owners' rules, and the operator's, beside them; `broken`: which of the owners' were, and by whom."""

    rules: OwnRules
    keys: ByKey
    operators: tuple[VelocityRule, ...]
    broken: list[Review]


@surface.door(
    "GET", "/tenants/{tenant}/velocity", permission="guardrails.manage",
    summary="Rules against scraping and hoarding, and what broke them", returns=OwnVelocityView,
)  # fmt: skip
def show_velocity(_: Incoming, caller: Caller) -> OwnVelocityView:
    """With who called last when one was broken, and from where. No prompt is in it."""
    return _view(caller.snapshot.tenant)


@surface.door(
    "PUT", "/tenants/{tenant}/velocity", permission="guardrails.manage", for_narrowed="closed",
    summary="Set rules against scraping and hoarding", accepts=OwnVelocity, returns=OwnVelocityView,
)  # fmt: skip
def put_velocity(asked: Incoming, caller: Caller) -> OwnVelocityView:
    """These, and no others, from the next request on. What broke a rule that is gone is forgotten."""
    wanted, tenant = asked.json(OwnVelocity), caller.principal.tenant
    known = {key.id for key in wiring.tenancy().keys(tenant)} if wanted.keys else set()
    changed = wiring.tenancy().velocity.put_own(tenant, wanted.rules, wanted.keys, known)
    there = {review_id(owners(tenant), rule) for rule in wanted.rules}
    there |= {review_id(keys(tenant, key), rule) for key, rules in wanted.keys.items() for rule in rules}
    wiring.path().velocity.reviews.keep_only(tenant, there)
    return _view(changed)


def _view(tenant: Tenant) -> OwnVelocityView:
    broken = wiring.path().velocity.reviews.all(told=tenant.id)
    return OwnVelocityView(tenant.own_velocity, tenant.key_velocity, tenant.velocity, broken)
