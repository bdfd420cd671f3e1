"""Breaking the glass: how an operator comes to a tenant's things in an emergency, for an hour and never unseen."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.api.management import KeyRequest, NewKey, new_key
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.identity import Principal
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.principals import principal_of

# By a signature alone: a key can be lent, and says nothing of whoever holds it.
surface = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed")

LABEL = "break-glass"
_LABEL_LETTERS = 100


class BreakGlassRequest(msgspec.Struct, frozen=True):
    """Why, as the tenant will read it, and for how long."""

    reason: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\x00-\x1f\x7f]{10,500}$(?!\n)", description="10 to 500 characters of text in one line"
        ),
    ]
    minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60


@surface.door(
    "POST", "/admin/tenants/{tenant}/break-glass", permission="operate", for_narrowed="covering",
    summary="Come to a tenant's things in an emergency", accepts=BreakGlassRequest, returns=NewKey, status=201,
    names=lambda made: made.key.id,
)  # fmt: skip
def break_glass(asked: Incoming, operator: Principal) -> NewKey:
    """An owner key of the tenant's that ends by itself, for those whom the deployment names and who sign with IAM.

    The tenant sees it among its keys, with the reason, and may revoke it; what is done stands in its events, and in the
    platform's. As any key that ends, it changes nothing that outlasts it: members, issuers, settings.
    """
    path = wiring.path()
    if principal_of(operator.subject) not in map(principal_of, path.settings.glass_breakers):
        raise Forbidden(
            "CLOISTER_BREAK_GLASS_PRINCIPALS does not name you. Ask somebody whom it names, or who deploys this."
        )
    request = asked.json(BreakGlassRequest)
    label = f"{LABEL}: {request.reason}"[:_LABEL_LETTERS]
    tenant = asked.parameters["tenant"]
    asked_for = KeyRequest("owner", label, expires_in_s=request.minutes * 60)
    made = new_key(operator, tenant, asked_for, emergency=True)
    path.telemetry.count(
        "BreakGlass", path.clock(), tenant=tenant, operator=operator.subject, key=made.key.id,
        request_id=asked.request_id,
    )  # fmt: skip
    return made
