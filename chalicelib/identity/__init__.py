"""Who is calling, and what that role may do.

    credential   what they prove it with        principal   who they are then      roles   what each may do
    claims       what a token says              tokens      whether that is true
    signin       from a browser to who it is

Here is the only judge. A credential more: a class in `credential`, a case in `identify`, a line in `http/credentials`.
"""

from collections.abc import Sequence

import msgspec

from chalicelib.identity.claims import Claims, Verify, no_tokens
from chalicelib.identity.credential import ApiKey, Credential, KeyHolder, Sealer, SessionCookie, Signed, Token
from chalicelib.identity.principal import Principal
from chalicelib.refusal import Forbidden, NotFound, NotOpened, Refusal, Unauthenticated
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.key_text import parse
from chalicelib.tenancy.principals import principal_of
from chalicelib.tenancy.sessions import Session
from chalicelib.tenancy.snapshot import Reading, Snapshot
from chalicelib.tenancy.sources import NetworkSource, lets_in
from chalicelib.tenancy.tenant import Key, Tenant, is_a_tenants

__all__ = [
    "ENCRYPTING_PROVES_NOTHING",
    "ApiKey",
    "Credential",
    "KeyHolder",
    "Principal",
    "Sealer",
    "SessionCookie",
    "Signed",
    "Token",
    "identify",
    "operator",
]

# A key policy cannot bind kms:Encrypt to attestation, and the hosts of enclaves need it without a context, for the
# answers of mode kms. With the context of an esdk message nobody needs it but the tenant.
ENCRYPTING_PROVES_NOTHING = (
    "Mode kms needs an API key: what kms.encrypt makes proves kms:Encrypt alone, which enclaves' hosts have too. "
    "Send `Authorization: Bearer ck_...`, or seal in mode esdk."
)

NAMES_NO_TENANT = "A token says who somebody is, and not at which tenant: send `X-Tenant-ID` with it."

ERASED = "This tenant's data was erased. What became of it, the key tells that whoever asked for it was given."
TAKEN_DOWN = (
    "This tenant was taken down by the operator of the service, and its keys and sessions are revoked for good. Do not "
    "repeat the request: an owner of the tenant has to ask the operator."
)

UNKNOWN = NetworkSource()
"""Nowhere that any tenant could list."""


def identify(
    credential: Credential | None,
    tenant: str | None,
    reading: Reading,
    now_ms: int,
    verify: Verify = no_tokens,
    source: NetworkSource = UNKNOWN,
) -> tuple[Principal, Snapshot]:
    """Whom the credential stands for, and the snapshot of their tenant.

    `tenant` is the one that the request names, if it names one. `reading` is `Snapshots.cached` where an admission
    follows that proves it current, else `Snapshots.fresh`. `verify`: whether a token is what it says. `source`: from
    where the request came, which some tenants ask.

    Whoever is refused as a stranger has cost the store the same two reads, or none where what they sent has not the
    form of a credential: how long it took says nothing of which tenants there are.

    Raises:
        Unauthenticated: missing, unknown, revoked or expired: one text for all. Another for what a KMS key sealed
            in a mode that proves no possession of it, whoever it is for. A token that names no tenant is unknown, too.
        NotOpened: no KMS key that is registered.
        NotFound: a valid credential of another tenant. It is told nothing about the tenant that it named.
        Forbidden: the tenant is suspended or taken down, lets in nobody from there, or the IAM principal is nobody's.
        NoCapacity: the keys of the token's issuer cannot be had.
    """
    principal, snapshot = _proven(credential, tenant, reading, now_ms, verify, source)
    sources = _operators(reading) if principal.emergency else snapshot.tenant.sources
    if sources and not lets_in(sources, source):
        raise Forbidden(
            "Your tenant lets in callers from the networks and VPC endpoints that it lists, and this request came from "
            f"{source}. Call from one of those, or ask an owner of the tenant to add yours."
        )
    if snapshot.guardrails is not None and snapshot.guardrails.allow is not None:
        principal = msgspec.structs.replace(principal, allowed=snapshot.guardrails.allow)
    return principal, snapshot


def _proven(
    credential: Credential | None,
    tenant: str | None,
    reading: Reading,
    now_ms: int,
    verify: Verify,
    source: NetworkSource,
) -> tuple[Principal, Snapshot]:
    match credential:
        case ApiKey(text, ()):
            return _by_key(text, tenant, reading, now_ms)
        case ApiKey(text, spares):
            return _by_one_of((text, *spares), tenant, reading, now_ms)
        case Token(text):
            return _by_token(text, tenant, reading, now_ms, verify)
        case SessionCookie(text):
            return _by_session(text, tenant, reading, now_ms)
        case Signed(arn):
            return _by_signature(arn, tenant, reading)
        case KeyHolder(arn, "esdk"):
            return _by_possession(arn, tenant, reading, source)
        case KeyHolder():
            raise Unauthenticated(ENCRYPTING_PROVES_NOTHING)  # before any tenant is looked at
        case Sealer():
            snapshot = _open_to_holders(tenant, reading, source)
            return Principal(tenant=snapshot.tenant.id, subject="", role="viewer", proof="kms"), snapshot
        case None:
            raise Unauthenticated


def operator(
    credential: Credential | None, reading: Reading, now_ms: int, source: NetworkSource = UNKNOWN
) -> Principal:
    """The principal behind a request to the admin surface.

    On AWS, API Gateway has checked an IAM signature and the `execute-api:Invoke` permission before we are
    called, and tells the ARN. Where there is no API Gateway, an owner key of the platform's own tenant
    is the other way in.

    Raises: Unauthenticated, Forbidden.
    """
    if isinstance(credential, Signed):
        return Principal(tenant=PLATFORM_TENANT, subject=credential.arn, role="owner", proof="iam")
    if isinstance(credential, Token):
        raise Unauthenticated  # it is for tenants' routes
    principal, _ = identify(credential, None, reading, now_ms, source=source)
    if principal.tenant != PLATFORM_TENANT or principal.role != "owner":
        raise Forbidden("The admin surface takes signed IAM requests, or an owner key of the platform tenant.")
    principal.must_reach("management")
    return principal


def _by_key(text: str, tenant: str | None, reading: Reading, now_ms: int) -> tuple[Principal, Snapshot]:
    key_text = parse(text)
    if key_text is None:
        raise Unauthenticated
    known = reading.keyed(
        Key, key_text.tenant, key_text.key_id, lambda key: key_text.matches(key.digest) and key.valid(now_ms)
    )
    if known is None:
        raise Unauthenticated
    key, snapshot = known
    if tenant is not None and tenant != key.tenant:
        raise NotFound("There is no such tenant, or this key is not one of its keys.")
    _must_be_open(snapshot, key.created_ms)
    principal = Principal(
        tenant=key.tenant,
        subject=f"key:{key.id}",
        role=key.role,
        proof="api_key",
        scopes=key.scopes,
        expires_ms=key.expires_ms,
        member=key.member,
        rules=key.guardrails,
        emergency=key.emergency,
    )
    return principal, snapshot


def _operators(reading: Reading) -> Sequence[str]:
    """From where operators come. In an emergency they are not where a tenant's people are."""
    try:
        return reading(PLATFORM_TENANT).tenant.sources
    except NotFound:  # the operator has no tenant of their own, and all who are let in sign by IAM
        return ()


def _by_one_of(texts: tuple[str, ...], tenant: str | None, reading: Reading, now_ms: int) -> tuple[Principal, Snapshot]:
    """The first key that is good here. Where none is, what is wrong with the one that is known at all."""
    refusals: list[Refusal] = []
    for text in texts:
        try:
            return _by_key(text, tenant, reading, now_ms)
        except (Unauthenticated, NotFound, Forbidden) as refusal:
            refusals.append(refusal)
    raise next((each for each in refusals if not isinstance(each, Unauthenticated)), refusals[0])


def _by_token(
    text: str, tenant: str | None, reading: Reading, now_ms: int, verify: Verify
) -> tuple[Principal, Snapshot]:
    """The member of the tenant whom the token is about. What they may do is the member's, never the token's alone."""
    if tenant is None:
        raise Unauthenticated(NAMES_NO_TENANT)  # good or not: nobody has looked at it
    if not is_a_tenants(tenant):
        raise Unauthenticated
    own = False
    try:
        claims = verify(text, (), now_ms)
    except Unauthenticated:
        own = True
        claims = _by_the_tenants_own(text, tenant, reading, now_ms, verify)
    known = reading.person(tenant, claims.issuer, claims.subject)
    if known is None:
        raise NotFound("There is no such tenant, or you are not one of its members. Ask its owners to invite you.")
    member, snapshot = known
    if own and verify(text, snapshot.tenant.issuers, now_ms) != claims:
        raise Unauthenticated  # the person was read later than the issuers, and those have changed in between
    _must_be_open(snapshot, claims.issued_ms)
    holder = snapshot.tenant.role(claims.role or member.role)
    assert holder is not None  # who holds a role that there is not is no member
    principal = Principal(
        tenant=snapshot.tenant.id,
        subject=f"member:{member.subject}",
        role=holder.base,
        proof="jwt",
        scopes=holder.scopes,
        expires_ms=claims.expires_ms,
        member=member.subject,
    )
    return principal, snapshot


def _by_session(text: str, tenant: str | None, reading: Reading, now_ms: int) -> tuple[Principal, Snapshot]:
    """The member who signed in. What they may do is what they may now, whatever it was then."""
    given = parse(text, "cs")
    if given is None:
        raise Unauthenticated
    known = reading.keyed(
        Session, given.tenant, given.key_id, lambda session: session.until_ms(given, now_ms) is not None
    )
    if known is None:
        raise Unauthenticated
    session, snapshot = known
    if tenant != session.tenant:
        raise NotFound("There is no such tenant, or this session is not one of its sessions.")
    _must_be_open(snapshot, session.created_ms)
    principal = Principal(
        tenant=session.tenant,
        subject=f"member:{session.member}",
        role=session.role,
        proof="session",
        scopes=session.scopes,
        expires_ms=session.until_ms(given, now_ms),
        member=session.member,
    )
    return principal, snapshot


def _by_the_tenants_own(text: str, tenant: str, reading: Reading, now_ms: int, verify: Verify) -> Claims:
    """What the token says by an issuer of the tenant's own. Raises Unauthenticated, after the same two reads always."""
    said: list[Claims] = []

    def opens(held: Tenant) -> bool:
        try:
            said.append(verify(text, held.issuers, now_ms))
        except Unauthenticated:
            return False
        return True

    if reading.where(tenant, opens) is None:
        raise Unauthenticated
    return said[-1]


def _by_signature(arn: str, tenant: str | None, reading: Reading) -> tuple[Principal, Snapshot]:
    """The tenant whose IAM principal `arn` is, or whose role it is a session of.

    The principal's own policies say what it may do, so that here it is an owner.
    """
    principal = principal_of(arn)
    for owner in reading.owners(principal):
        snapshot = reading(owner)
        if principal not in snapshot.tenant.principals:
            continue  # what is remembered may be older than the last change
        if tenant is not None and tenant != owner:
            raise NotFound("There is no such tenant, or this IAM principal is not one of its principals.")
        _must_be_active(snapshot)
        return Principal(tenant=owner, subject=arn, role="owner", proof="iam"), snapshot
    raise Forbidden(
        f"The IAM principal {principal} belongs to no tenant here. Ask the operator of the service to add it to "
        "the principals of yours."
    )


def _by_possession(
    arn: str | None, tenant: str | None, reading: Reading, source: NetworkSource
) -> tuple[Principal, Snapshot]:
    snapshot = _open_to_holders(tenant, reading, source)
    registered = snapshot.tenant.sealing.key_for(arn)
    if registered is None:
        raise NotOpened
    return Principal(tenant=snapshot.tenant.id, subject=registered, role="developer", proof="kms"), snapshot


def _open_to_holders(tenant: str | None, reading: Reading, source: NetworkSource) -> Snapshot:
    """A tenant that asks for no API key, but for possession of its KMS key. Raises Unauthenticated for any other, and
    where it lets in nobody from there: who has proved nothing yet learns nothing of it."""
    if tenant is None or not is_a_tenants(tenant):
        raise Unauthenticated

    def opens(held: Tenant) -> bool:
        return held.sealing.auth == "kms" and held.status == "active" and lets_in(held.sources, source)

    snapshot = reading.where(tenant, opens)
    if snapshot is None:
        raise Unauthenticated
    return snapshot


def _must_be_open(snapshot: Snapshot, created_ms: int) -> None:
    """To a key, token or session that was made then. Raises Forbidden, Unauthenticated."""
    if snapshot.tenant.status == "erased" and not snapshot.tenant.outlived(created_ms):
        return  # the key that reads what became of the data
    _must_be_active(snapshot)
    if snapshot.tenant.outlived(created_ms):
        raise Unauthenticated


def _must_be_active(snapshot: Snapshot) -> None:
    if snapshot.tenant.status == "taken_down":
        raise Forbidden(TAKEN_DOWN)
    if snapshot.tenant.status == "erased":
        raise Forbidden(ERASED)
    if snapshot.tenant.status != "active":
        raise Forbidden("This tenant is suspended. Ask the operator of the service.")
