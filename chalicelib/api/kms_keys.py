"""What sealed inference needs besides the requests themselves: a tenant's KMS keys, and an enclave that shows itself.

The gateway asks an enclave by tickets, and passes on what it tells. It proves nothing to the caller, who verifies the
enclave's attestation document, and learns nothing: challenges, proofs and tokens are ciphertext to it.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.inference.plan import KMS_BLOB_BYTES
from chalicelib.pool import Pool
from chalicelib.refusal import EngineFailed, Malformed, NotFound, NotOpened
from chalicelib.tenancy.key_epochs import KeyEpoch
from chalicelib.tenancy.tenant import PoolName, RegisteredKey, SealingAuth
from chalicelib.tickets import Claims, KeyArn

surface = Surface(__name__, "management", title="Sealing", prefix="/tenants/{tenant}", auth="key")

T = TypeVar("T")

NOT_REGISTERED = (
    "Key validation failed: the enclave cannot use this key, or the proof is not the challenge's text. See that the "
    "key exists in this region and that its policy admits the enclave (`cloister policy` prints one), and begin again."
)

Blob = Annotated[bytes, msgspec.Meta(min_length=1, max_length=KMS_BLOB_BYTES)]
"""What kms:Decrypt takes (https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html)."""

Nonce = Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]
NonceText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{2,86}$(?!\n)",
        description="1 to 64 bytes in base64url without padding: 2 to 86 letters",
    ),
]


class KmsKeyRequest(msgspec.Struct, frozen=True):
    """A KMS key to be registered, by its full ARN."""

    key_arn: Annotated[str, msgspec.Meta(max_length=256)]


class KmsKeyChallenge(msgspec.Struct, frozen=True):
    """A secret under the key: decrypt it, encrypt it again, and send that as the proof."""

    key_arn: str
    challenge: bytes
    expires_ms: int


class KmsKeyProof(msgspec.Struct, frozen=True):
    """The challenge's plaintext, encrypted again under the key, for the purpose `cloister-key-proof`."""

    proof: Blob


class KmsKeyView(msgspec.Struct, frozen=True):
    """A registered KMS key."""

    key_arn: str
    registered_ms: int


class KmsKeyList(msgspec.Struct, frozen=True):
    """The KMS keys that a tenant seals with."""

    keys: list[KmsKeyView]


class KmsKeyProbe(msgspec.Struct, frozen=True):
    """Something encrypted under the key, for the purpose `cloister-doctor`, which the enclave tries to decrypt."""

    nonce: Nonce
    ciphertext: Blob


class Probed(msgspec.Struct, frozen=True):
    """An attestation document whose `user_data` tells whether the key opens to the enclave, and to nobody else."""

    document: bytes


class AttestationQuery(msgspec.Struct, frozen=True):
    """`nonce`: up to 64 random bytes in base64url without padding. `pool`: left out, the first one with an enclave."""

    nonce: NonceText
    pool: PoolName | None = None


class KeyConfiguration(msgspec.Struct, frozen=True):
    """What a client seals to in mode hpke."""

    epoch: str
    expires_ms: int
    token: bytes
    x25519: bytes
    xwing: bytes


class Attested(msgspec.Struct, frozen=True):
    """An attestation document, and the key configuration that it vouches for, where there is one."""

    document: bytes
    configuration: KeyConfiguration | None


class SealingRequest(msgspec.Struct, frozen=True):
    """`kms`: a request that was sealed in mode esdk, and that a registered key opens, needs no API key."""

    auth: SealingAuth


class _Challenged(msgspec.Struct, frozen=True):
    challenge: bytes
    digest: str


class _Proved(msgspec.Struct, frozen=True):
    digest: str


class _Attest(msgspec.Struct, frozen=True):
    """The caller's nonce, and the key epoch that the enclave shall vouch for."""

    nonce: bytes
    configuration: KeyEpoch | None


@surface.door(
    "GET", "/tenants/{tenant}/kms-keys", permission="keys.manage",
    summary="List the registered KMS keys", returns=KmsKeyList,
)  # fmt: skip
def list_kms_keys(_: Incoming, caller: Caller) -> KmsKeyList:
    """With these keys the tenant seals its requests."""
    return KmsKeyList([_view(key) for key in caller.snapshot.tenant.sealing.keys])


@surface.door(
    "POST", "/tenants/{tenant}/kms-keys", permission="keys.manage", for_narrowed="closed",
    summary="Begin to register a KMS key: get a challenge", accepts=KmsKeyRequest, returns=KmsKeyChallenge,
    status=201, names=lambda made: made.key_arn,
)  # fmt: skip
def challenge_kms_key(asked: Incoming, caller: Caller) -> KmsKeyChallenge:
    """The enclave encrypts a secret under the key. Whoever decrypts it controls the key."""
    arn = str(KeyArn.parse(asked.json(KmsKeyRequest).key_arn, wiring.path().settings.key_regions))
    claims = Claims("challenge", tenant=caller.principal.tenant, key_arn=arn, request_id=asked.request_id)
    with _registering():
        told = read(_ask(claims, b"{}", caller), _Challenged)
    waiting = wiring.tenancy().kms_keys.challenge(caller.principal.tenant, arn, told.digest)
    return KmsKeyChallenge(arn, told.challenge, waiting.expires_ms)


@surface.door(
    "PUT", "/tenants/{tenant}/kms-keys/{key}", permission="keys.manage", for_narrowed="closed",
    summary="Register a KMS key: prove control of it", accepts=KmsKeyProof, returns=KmsKeyView,
)  # fmt: skip
def prove_kms_key(asked: Incoming, caller: Caller) -> KmsKeyView:
    """The proof is the challenge's secret, encrypted again. `{key}` is the last part of the key's ARN."""
    request = asked.json(KmsKeyProof)
    kms_keys, key_id = wiring.tenancy().kms_keys, asked.parameters["key"]
    arn = kms_keys.pending(caller.principal.tenant, key_id).arn
    claims = Claims("prove", tenant=caller.principal.tenant, key_arn=arn, request_id=asked.request_id)
    with _registering():
        told = read(_ask(claims, request.proof, caller), _Proved)
        return _view(kms_keys.prove(caller.principal.tenant, key_id, told.digest))


@surface.door(
    "DELETE", "/tenants/{tenant}/kms-keys/{key}", permission="keys.manage", for_narrowed="closed",
    summary="Remove a KMS key, at once and everywhere", status=204,
)  # fmt: skip
def remove_kms_key(asked: Incoming, caller: Caller) -> None:
    """Or withdraw a challenge. Requests sealed under it no longer open."""
    wiring.tenancy().kms_keys.remove(caller.principal.tenant, asked.parameters["key"])


@surface.door(
    "POST", "/tenants/{tenant}/kms-keys/{key}/probe", permission="keys.manage", for_narrowed="within",
    summary="Have the enclave show what a KMS key's policy allows it", accepts=KmsKeyProbe, returns=Probed,
)  # fmt: skip
def probe_kms_key(asked: Incoming, caller: Caller) -> Probed:
    """The enclave tries to decrypt with its attestation and without: only the first should work."""
    request = asked.json(KmsKeyProbe)
    key = caller.snapshot.tenant.sealing.named(asked.parameters["key"])
    if key is None:
        raise NotFound("There is no such KMS key of this tenant. Register it first.")
    claims = Claims("probe", tenant=caller.principal.tenant, key_arn=key.arn, request_id=asked.request_id)
    return read(_ask(claims, msgspec.json.encode(request), caller), Probed)


@surface.door(
    "GET", "/tenants/{tenant}/attestation", permission="models.read", for_sealers=True,
    summary="The enclave's attestation document and key configuration", query=AttestationQuery, returns=Attested,
)  # fmt: skip
def attest(asked: Incoming, caller: Caller) -> Attested:
    """Verify the document before you seal to the key that comes with it.

    Where the tenant's `sealing` says `kms`, no API key is needed.
    """
    query = asked.query_as(AttestationQuery)
    question = msgspec.json.encode(_Attest(_nonce(query.nonce), wiring.tenancy().key_epochs.current()))
    claims = Claims("attest", tenant=caller.principal.tenant, request_id=asked.request_id)
    return read(_ask(claims, question, caller, query.pool), Attested)


@surface.door(
    "PUT", "/tenants/{tenant}/sealing", permission="keys.manage", for_narrowed="closed",
    summary="Say what lets sealed requests in: an API key, or a registered KMS key", accepts=SealingRequest,
    returns=SealingRequest,
)  # fmt: skip
def put_sealing(asked: Incoming, caller: Caller) -> SealingRequest:
    """`key`: an API key; `kms`: a sealed request that a registered key opens needs none."""
    request = asked.json(SealingRequest)
    wiring.tenancy().kms_keys.let_in_by(caller.principal.tenant, request.auth)
    return request


def ask_enclave(claims: Claims, body: bytes, pool: Pool, pin: str | None) -> bytes:
    """What an enclave of the pool tells when it is asked `body`.

    Raises: NotOpened, Malformed, TooLarge; NoCapacity, EngineFailed, EngineTimedOut.
    """
    path = wiring.path()
    question = path.tickets.permit(msgspec.structs.replace(claims, pool=pool.name), body)
    return path.placement.consult(pool, pin, question)


@contextmanager
def _registering() -> Iterator[None]:
    """What a key that does not open means to whoever registers it. One text, whatever it was."""
    try:
        yield
    except NotOpened:
        raise NotOpened(NOT_REGISTERED) from None


def read(told: bytes, form: type[T]) -> T:
    """Raises EngineFailed."""
    try:
        return msgspec.json.decode(told, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise EngineFailed("The enclave's answer could not be read. Try again.") from None


def _ask(claims: Claims, body: bytes, caller: Caller, named: str | None = None) -> bytes:
    pool = _pool(caller, named)
    return ask_enclave(claims, body, pool, caller.snapshot.tenant.pins.get(pool.name))


def _pool(caller: Caller, named: str | None) -> Pool:
    """The pool with that name, else the first of the tenant's pools, that has an enclave. Raises NotFound."""
    for name in caller.snapshot.tenant.pools if named is None else (named,):
        pool = caller.snapshot.pool(name)
        if pool is not None and pool.sealed and caller.principal.may_use(pool.name):
            return pool
    if named is not None:
        raise NotFound(f"There is no pool {named} with an enclave that this key may use.")
    raise NotFound("None of the pools that this key may use has an enclave. Ask the operator of the service for one.")


def _nonce(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Malformed("The nonce is not base64url without padding.", field="nonce") from None


def _view(key: RegisteredKey) -> KmsKeyView:
    return KmsKeyView(key.arn, key.registered_ms)
