"""What a tenant's people and programs may say to models, and models to them: rules that its owners set."""

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface, named_routes
from chalicelib.tenancy.allowed import MANAGEMENT, Allowed, must_be_routes
from chalicelib.tenancy.guardrails import Guardrails, SecondStage
from chalicelib.tenancy.tenant import Tenant
from chalicelib.tenancy.validity import must_be_pools
from guard import Rules

surface = Surface(__name__, "management", title="Guardrails", prefix="/tenants/{tenant}/guardrails", auth="key")


class GuardrailsBody(Rules, frozen=True, kw_only=True):
    """Rules, the guardrail of Bedrock's that judges what they let pass, and in `allow` what may be used at all."""

    bedrock: SecondStage | None = None
    allow: Allowed = Allowed()


class GuardrailsView(GuardrailsBody, frozen=True, kw_only=True):
    """The rules in force. `version` is 0 until rules are set, and grows with each change."""

    offered: tuple[str, ...]  # guardrails of Bedrock's that the operator lets this tenant use
    version: int
    changed_ms: int


@surface.door(
    "GET", "/tenants/{tenant}/guardrails", permission="guardrails.manage",
    summary="The rules of what may be said", returns=GuardrailsView,
)  # fmt: skip
def show_guardrails(_: Incoming, caller: Caller) -> GuardrailsView:
    """As they were put, with defaults filled in."""
    tenant = caller.snapshot.tenant
    return _view(wiring.tenancy().guardrails.of(tenant.id), tenant)


@surface.door(
    "PUT", "/tenants/{tenant}/guardrails", permission="guardrails.manage", for_narrowed="closed",
    summary="Set the rules of what may be said", accepts=GuardrailsBody, returns=GuardrailsView,
)  # fmt: skip
def put_guardrails(asked: Incoming, caller: Caller) -> GuardrailsView:
    """All of them at once, true from the next request on. What is wrong with one of them is said, and none is set."""
    tenant, body = caller.snapshot.tenant, asked.json(GuardrailsBody)
    must_be_pools(body.allow.pools, tenant.pools, "allow.pools", "among the tenant's")
    must_be_routes(body.allow.routes, named_routes(MANAGEMENT), "allow.routes")
    rules = Rules(**{name: getattr(body, name) for name in Rules.__struct_fields__})
    allow = None if body.allow == Allowed() else body.allow
    return _view(wiring.tenancy().guardrails.put(tenant.id, rules, body.bedrock, allow), tenant)


def _view(guardrails: Guardrails, tenant: Tenant) -> GuardrailsView:
    rules = {name: getattr(guardrails.rules, name) for name in Rules.__struct_fields__}
    return GuardrailsView(
        **rules,
        bedrock=guardrails.bedrock,
        allow=guardrails.allow or Allowed(),
        offered=tuple(each.name for each in tenant.bedrock_guardrails),
        version=guardrails.version,
        changed_ms=guardrails.changed_ms,
    )
