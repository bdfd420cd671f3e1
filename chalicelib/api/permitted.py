"""Who may do what on the routes that admit nothing."""

from chalicelib import wiring
from chalicelib.api.incoming import Incoming
from chalicelib.identity import identify
from chalicelib.identity.principal import Principal
from chalicelib.identity.roles import Permission
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
