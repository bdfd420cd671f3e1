"""Fair use, as the operator watches over it: rules of velocity, and the reviews of tenants that broke them."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.http.incoming import Incoming, must_fit
from chalicelib.http.surface import Surface
from chalicelib.refusal import Conflict
from chalicelib.tenancy import Change
from chalicelib.tenancy.tenant import MOST_RULES, VelocityRule
from chalicelib.velocity.reviews import Review, Step, Taken

surface = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")


class VelocityRuleList(msgspec.Struct, frozen=True):
    """How many different prompts, keys and addresses a tenant may call with."""

    rules: Annotated[tuple[VelocityRule, ...], msgspec.Meta(max_length=MOST_RULES)]


class ReviewList(msgspec.Struct, frozen=True):
    """The open ones first, and of these the last ones."""

    reviews: list[Review]


class StepRequest(msgspec.Struct, frozen=True):
    """Why the step is taken: it stands in the review, and in the events of the tenant and the platform."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@surface.door(
    "GET", "/admin/tenants/{tenant}/velocity", permission="operate",
    summary="A tenant's rules of velocity", returns=VelocityRuleList,
)  # fmt: skip
def list_velocity_rules(asked: Incoming) -> VelocityRuleList:
    """How many different prompts, keys and addresses it may call with."""
    return VelocityRuleList(wiring.tenancy().tenant(asked.parameters["tenant"]).velocity)


@surface.door(
    "PUT", "/admin/tenants/{tenant}/velocity", permission="operate", for_narrowed="closed",
    summary="Set a tenant's rules of velocity", accepts=VelocityRuleList, returns=VelocityRuleList,
)  # fmt: skip
def put_velocity_rules(asked: Incoming) -> VelocityRuleList:
    """These, and no others, from its next request on."""
    rules = asked.json(VelocityRuleList).rules
    return VelocityRuleList(wiring.tenancy().velocity.put(asked.parameters["tenant"], rules).velocity)


@surface.door(
    "GET", "/admin/reviews", permission="operate",
    summary="Tenants that broke a rule, and what was done", returns=ReviewList,
)  # fmt: skip
def list_reviews(_: Incoming) -> ReviewList:
    """One for each rule of a tenant, with who called last, and from where. No prompt is in them."""
    return ReviewList(wiring.path().velocity.reviews.all())


@surface.door(
    "POST", "/admin/tenants/{tenant}/reviews/{review}/{step}", permission="operate", for_narrowed="closed",
    summary="Take a step: note, throttle, suspend, take_down or clear", accepts=StepRequest, returns=Review,
)  # fmt: skip
def take_step(asked: Incoming) -> Review:
    """`throttle`: what breaks the rule is refused from now on. `suspend`: the tenant is. `take_down`: and its keys and
    sessions are revoked for good. `clear`: there was nothing."""
    reason = asked.json(StepRequest).reason
    tenant, step = asked.parameters["tenant"], asked.parameters["step"]
    must_fit(step, Step, "step")
    tenancy, path = wiring.tenancy(), wiring.path()
    reviews = path.velocity.reviews
    review = reviews.get(tenant, asked.parameters["review"])
    if step == "throttle":
        _throttle(review)
    if step == "suspend":
        tenancy.change_tenant(tenant, Change(status="suspended"))
    if step == "take_down":
        tenancy.take_down(tenant)
    taken = Taken(msgspec.convert(step, Step), path.clock(), reason, asked.request_id)
    return reviews.take(tenant, review.id, taken)


def _throttle(review: Review) -> None:
    if review.rule is None:
        raise Conflict("No rule was broken: put the network on the deny list, by PUT /admin/reputation.")
    if review.rule.what == "tenants":
        wiring.path().velocity.reputation.throttle(review.rule)
    else:
        wiring.tenancy().velocity.throttle(review.tenant, review.rule)
