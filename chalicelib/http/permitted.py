"""Who may do what on the routes that admit nothing."""

from chalicelib import wiring
from chalicelib.http.incoming import Incoming
from chalicelib.identity import iam_principal, identify
from chalicelib.identity.principal import Principal
from chalicelib.identity.roles import Permission
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.snapshot import Snapshot
from chalicelib.tenancy.tenant import Surface


def permitted(asked: Incoming, permission: Permission, surface: Surface | None) -> tuple[Principal, Snapshot]:
    """The caller and its tenant, read afresh: no admission follows that would notice a revoked key.

    `surface` is the one that the route belongs to; None where every surface needs it.

    Raises: Unauthenticated, NotFound, Forbidden; StoreUnavailable.
    """
    house = wiring.house()
    principal, snapshot = identify(
        asked.credential, asked.path["tenant"], house.snapshots, house.snapshots.fresh, house.clock()
    )
    principal.must(permission)
    if surface is not None:
        principal.must_reach(surface)
    return principal, snapshot


def signed(asked: Incoming, permission: Permission) -> tuple[Principal, Snapshot]:
    """The tenant whose IAM principal signed the request, read afresh.

    Raises: Forbidden, also where nobody signed it, as API Gateway does; StoreUnavailable.
    """
    house = wiring.house()
    principal, snapshot = iam_principal(signer(asked), house.snapshots, house.snapshots.fresh)
    principal.must(permission)
    return principal, snapshot


def signed_or_permitted(asked: Incoming, permission: Permission, surface: Surface) -> tuple[Principal, Snapshot]:
    """As `signed`; where there is no API Gateway, an API key of the tenant is the other way in.

    Raises: Unauthenticated, Forbidden; StoreUnavailable.
    """
    if asked.iam_arn is not None:
        return signed(asked, permission)
    house = wiring.house()
    principal, snapshot = identify(asked.credential, None, house.snapshots, house.snapshots.fresh, house.clock())
    principal.must(permission)
    principal.must_reach(surface)
    return principal, snapshot


def signer(asked: Incoming) -> str:
    """The ARN of whoever signed the request. Raises Forbidden, where nobody did."""
    if not asked.iam_arn:
        raise Forbidden("Sign this request with AWS Signature Version 4, for the service execute-api.")
    return asked.iam_arn
