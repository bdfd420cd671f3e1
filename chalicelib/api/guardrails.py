"""What a tenant's people and programs may say to models, and models to them: rules that its owners set."""

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.tenancy.guardrails import Guardrails
from guard import Rules

surface = Surface(__name__, "management", title="Guardrails", prefix="/tenants/{tenant}/guardrails", auth="key")


class GuardrailsView(Rules, frozen=True, kw_only=True):
    """The rules in force. `version` is 0 until rules are set, and grows with each change."""

    version: int
    changed_ms: int


@surface.door(
    "GET", "/tenants/{tenant}/guardrails", permission="guardrails.manage",
    summary="The rules of what may be said", returns=GuardrailsView,
)  # fmt: skip
def show_guardrails(_: Incoming, caller: Caller) -> GuardrailsView:
    """As they were put, with defaults filled in."""
    return _view(wiring.tenancy().guardrails.of(caller.principal.tenant))


@surface.door(
    "PUT", "/tenants/{tenant}/guardrails", permission="guardrails.manage", for_narrowed="closed",
    summary="Set the rules of what may be said", accepts=Rules, returns=GuardrailsView,
)  # fmt: skip
def put_guardrails(asked: Incoming, caller: Caller) -> GuardrailsView:
    """All of them at once, true from the next request on. What is wrong with one of them is said, and none is set."""
    return _view(wiring.tenancy().guardrails.put(caller.principal.tenant, asked.json(Rules)))


def _view(guardrails: Guardrails) -> GuardrailsView:
    rules = {name: getattr(guardrails.rules, name) for name in Rules.__struct_fields__}
    return GuardrailsView(**rules, version=guardrails.version, changed_ms=guardrails.changed_ms)
