"""Who joins a tenant, signs in at it, signs out again and leaves it: each stands in its journal, as what its members
change does.

Whoever is no member of it writes nothing there, however often they try.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

from chalicelib.http.incoming import Incoming
from chalicelib.http.journalled import Outcome, written
from chalicelib.identity.principal import Proof
from chalicelib.journal import Event

Step = Literal["join_tenant", "sign_in", "sign_out", "leave"]
How = Proof | Literal["password", "page"]
"""As a principal proves it; or by a mail address and a password, or at the issuer's page, to become one."""


def entering(asked: Incoming, step: Step, proof: How) -> Callable[..., AbstractContextManager[Outcome]]:
    """`entering(...)(tenant, subject)`: what is done within it stands between the two halves of a member's event.

    Raises StoreUnavailable, with nothing done, where the first cannot be written.
    """

    def by(tenant: str, subject: str, reason: str = "") -> AbstractContextManager[Outcome]:
        event = Event(
            tenant=tenant,
            subject=f"member:{subject}",
            proof=proof,
            by=tenant,
            action=step,
            object="",
            source_ip=asked.source_ip,
            request_id=asked.request_id,
            reason=reason,
        )
        return written((tenant,), event, "problem")

    return by
