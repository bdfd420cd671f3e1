"""Whether anybody may become a tenant by themselves: not yet, and here it says why."""

from typing import NoReturn

from chalicelib import wiring
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.refusal import Forbidden, NotFound

surface = Surface(__name__, "native", title="Sign-up", prefix="/signup", auth="none")


@surface.door(
    "POST", "/signup", permission="public", for_narrowed="within",
    summary="Become a tenant",
)  # fmt: skip
def sign_up(_: Incoming) -> NoReturn:
    """Refused: where the operator invites tenants, and elsewhere until there is a way to pay."""
    if wiring.path().settings.sign_up != "open":
        raise NotFound("Nobody signs up here: tenants are invited. Ask the operator of the service.")
    raise Forbidden(
        "Signing up needs a payment method, and none can be given here yet. Ask the operator of the service to make "
        "you a tenant."
    )
