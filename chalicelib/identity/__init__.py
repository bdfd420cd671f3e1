"""Who is calling, and what that role may do."""

from collections.abc import Callable

from chalicelib.identity.principal import Principal
from chalicelib.refusal import Forbidden, NotFound, NotOpened, Unauthenticated
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.principals import principal_of
from chalicelib.tenancy.snapshot import Snapshot, Snapshots
from chalicelib.tenancy.token import parse

Reading = Callable[[str], Snapshot]
"""`Snapshots.cached` where an admission follows and proves it current, else `Snapshots.fresh`."""


def identify(
    credential: str | None, tenant: str | None, snapshots: Snapshots, reading: Reading, now_ms: int
) -> tuple[Principal, Snapshot]:
    """The principal that an API key stands for, and the snapshot of its tenant.

    `tenant` is the one that the request names, if it names one.

    Raises:
        Unauthenticated: missing, unknown, revoked or expired: one text for all.
        NotFound: a valid key of another tenant. It is told nothing about the tenant that it named.
        Forbidden: the tenant is suspended.
    """
    token = parse(credential) if credential else None
    if token is None:
        raise Unauthenticated
    try:
        snapshot = reading(token.tenant)
    except NotFound:
        raise Unauthenticated from None
    key = snapshots.key(snapshot, token.key_id)
    if key is None or not token.matches(key.digest) or not key.valid(now_ms):
        raise Unauthenticated
    if tenant is not None and tenant != key.tenant:
        raise NotFound("There is no such tenant, or this key is not one of its keys.")
    _must_be_active(snapshot)
    principal = Principal(
        tenant=key.tenant,
        subject=f"key:{key.id}",
        role=key.role,
        proof="api_key",
        scopes=key.scopes,
        expires_ms=key.expires_ms,
    )
    return principal, snapshot


def holder(key_arn: str | None, tenant: str | None, reading: Reading) -> tuple[Principal, Snapshot]:
    """Who a sealed request without an API key is from, if its tenant wants it so: whoever holds its registered KMS key.

    Nothing is proved yet: before anything is charged, the enclave must have opened the request with that key.

    Raises: Unauthenticated, where there is no such tenant, or it wants API keys. NotOpened: no such key of it.
    """
    snapshot = open_to_holders(tenant, reading)
    arn = snapshot.tenant.sealing.key_for(key_arn)
    if arn is None:
        raise NotOpened
    return Principal(tenant=snapshot.tenant.id, subject=arn, role="developer", proof="kms"), snapshot


def open_to_holders(tenant: str | None, reading: Reading) -> Snapshot:
    """A tenant that asks for no API key, but for possession of its KMS key. Raises Unauthenticated for any other."""
    if tenant is None:
        raise Unauthenticated
    try:
        snapshot = reading(tenant)
    except NotFound:
        raise Unauthenticated from None
    if snapshot.tenant.sealing.auth != "kms" or snapshot.tenant.status != "active":
        raise Unauthenticated
    return snapshot


def iam_principal(arn: str, snapshots: Snapshots, reading: Reading) -> tuple[Principal, Snapshot]:
    """Whom a signed request is from: the tenant whose IAM principal `arn` is, or whose role it is a session of.

    On AWS, API Gateway has checked the signature and that the principal's own policies allow this route, and tells the
    ARN. They say what it may do, so that here it is an owner.

    Raises Forbidden: nobody's principal, or the tenant is suspended.
    """
    principal = principal_of(arn)
    snapshot = _naming(principal, snapshots.claimed(principal), reading)
    if snapshot is None:  # what is remembered may be older than the last change
        snapshot = _naming(principal, snapshots.claimed_now(principal), snapshots.fresh)
    if snapshot is None:
        raise Forbidden(
            f"The IAM principal {principal} belongs to no tenant here. Ask the operator of the service to add it to "
            "the principals of yours."
        )
    _must_be_active(snapshot)
    return Principal(tenant=snapshot.tenant.id, subject=arn, role="owner", proof="iam"), snapshot


def operator(credential: str | None, iam_arn: str | None, snapshots: Snapshots, now_ms: int) -> Principal:
    """The principal behind a request to the admin surface.

    On AWS, API Gateway has checked an IAM signature and the `execute-api:Invoke` permission before we are
    called, and tells the ARN. Where there is no API Gateway, an owner key of the platform's own tenant
    is the other way in.

    Raises: Unauthenticated, Forbidden.
    """
    if iam_arn:
        return Principal(tenant=PLATFORM_TENANT, subject=iam_arn, role="owner", proof="iam")
    principal, _ = identify(credential, None, snapshots, snapshots.fresh, now_ms)
    if principal.tenant != PLATFORM_TENANT or principal.role != "owner":
        raise Forbidden("The admin surface takes signed IAM requests, or an owner key of the platform tenant.")
    principal.must_reach("management")
    return principal


def _naming(principal: str, tenant: str | None, reading: Reading) -> Snapshot | None:
    """The tenant's snapshot, if this is one of its principals."""
    if tenant is None:
        return None
    snapshot = reading(tenant)
    return snapshot if principal in snapshot.tenant.principals else None


def _must_be_active(snapshot: Snapshot) -> None:
    if snapshot.tenant.status != "active":
        raise Forbidden("This tenant is suspended. Ask the operator of the service.")
