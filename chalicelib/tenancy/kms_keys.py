"""The KMS keys that tenants seal with: registered by proving control, each to one tenant.

| document              | under       | says                                             |
|-----------------------|-------------|--------------------------------------------------|
| `kms-challenge#<id>`  | tenant      | Challenge: a registration that waits for its proof |
| `kms-key#<id>#<ARN>`  | `~platform` | Owner: whose key this is                         |
| `tenant`              | tenant      | `sealing.keys`: what its requests are opened with |
"""

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import PLATFORM, Document
from chalicelib.refusal import Conflict, NotFound, NotOpened
from chalicelib.tenancy.ownership import Owner
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.tenant import RegisteredKey, Sealing, SealingAuth, Tenant, id_of

CHALLENGE_MS = 600_000
MOST_KEYS = 20


class Challenge(msgspec.Struct, frozen=True):
    """A secret that an enclave has encrypted under the key. Whoever can tell it again controls the key."""

    arn: str
    digest: str  # SHA-256 of the secret, hexadecimal; the gateway has never seen the secret
    expires_ms: int


class KmsKeys:
    """Every change of a tenant's KMS keys. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def challenge(self, tenant_id: str, arn: str, digest: str) -> Challenge:
        """Begin to register a key, or begin again. Raises Conflict."""
        self._must_have_room(self._tenant(tenant_id)[1].sealing, arn)
        challenge = Challenge(arn, digest, self._clock() + CHALLENGE_MS)
        name = _challenge_name(id_of(arn))
        held = self._records.held(tenant_id, name)
        self._records.write(Document(tenant_id, name, text(challenge), held.version if held else 0))
        return challenge

    def pending(self, tenant_id: str, key_id: str) -> Challenge:
        """The challenge that waits for its proof. Raises NotFound; Conflict where it has expired."""
        return self._pending(tenant_id, key_id)[1]

    def prove(self, tenant_id: str, key_id: str, digest: str) -> RegisteredKey:
        """Register the key of the pending challenge, if `digest` is that of its secret.

        Raises: NotOpened, where it is not. NotFound; Conflict, also where the key is another tenant's.
        """
        document, challenge = self._pending(tenant_id, key_id)
        if digest != challenge.digest:
            raise NotOpened
        key = self.register(tenant_id, challenge.arn)
        self._records.delete(document)
        return key

    def register(self, tenant_id: str, arn: str) -> RegisteredKey:
        """Make the key the tenant's: for a caller who knows that the tenant controls it. Raises Conflict."""
        document, tenant = self._tenant(tenant_id)
        self._must_have_room(tenant.sealing, arn)
        # After the tenant was read, and always a write: a removal at the same time, which reads the owner first and
        # deletes it last, then meets a newer version of one of the two documents, or we do.
        self._take(tenant_id, arn)
        held = tenant.sealing.named(id_of(arn))
        key = held or RegisteredKey(arn, self._clock())
        keys = tenant.sealing.keys if held else (*tenant.sealing.keys, key)
        self._keep(document, tenant, msgspec.structs.replace(tenant.sealing, keys=keys))
        return key

    def remove(self, tenant_id: str, key_id: str) -> None:
        """From the next request on, nothing is opened with the key, and any tenant may register it.

        A registration that waits for its proof is withdrawn. Raises NotFound, Conflict.
        """
        owners = [
            document
            for document in self._records.under(PLATFORM, f"kms-key#{key_id}#")
            if value(document, Owner).tenant == tenant_id
        ]
        document, tenant = self._tenant(tenant_id)
        challenge = self._records.held(tenant_id, _challenge_name(key_id))
        left = [*([challenge] if challenge else []), *owners]
        if not left and tenant.sealing.named(key_id) is None:
            self._records.bump(tenant_id)
            raise NotFound(f"There is no KMS key {key_id} of this tenant.")
        kept = tuple(key for key in tenant.sealing.keys if key.id != key_id)
        self._keep(document, tenant, msgspec.structs.replace(tenant.sealing, keys=kept))
        for each in left:
            self._records.delete(each)

    def let_in_by(self, tenant_id: str, auth: SealingAuth) -> None:
        """Whether possession of a registered key lets sealed requests in, without an API key. Raises Conflict."""
        document, tenant = self._tenant(tenant_id)
        if auth == "kms" and not tenant.sealing.keys:
            raise Conflict("There is no KMS key yet whose possession could be asked for. Register one first.")
        self._keep(document, tenant, msgspec.structs.replace(tenant.sealing, auth=auth))

    def _take(self, tenant_id: str, arn: str) -> None:
        name = f"kms-key#{id_of(arn)}#{arn}"
        # Under all its ARNs: a multi-region key opens in each of its regions what was sealed in another.
        owners = {document.name: document for document in self._records.under(PLATFORM, f"kms-key#{id_of(arn)}#")}
        if any(value(document, Owner).tenant != tenant_id for document in owners.values()):
            raise Conflict("This key is registered to another tenant, which would have to remove it first.")
        held = owners.get(name)
        self._records.write(Document(PLATFORM, name, text(Owner(tenant_id)), held.version if held else 0))

    def _pending(self, tenant_id: str, key_id: str) -> tuple[Document, Challenge]:
        document = self._records.get(tenant_id, _challenge_name(key_id), f"challenge for the KMS key {key_id}")
        challenge = value(document, Challenge)
        if self._clock() >= challenge.expires_ms:
            raise Conflict("The challenge has expired. Ask for a new one.")
        return document, challenge

    def _tenant(self, tenant_id: str) -> tuple[Document, Tenant]:
        document = self._records.get(tenant_id, "tenant", f"tenant {tenant_id}")
        return document, value(document, Tenant)

    def _keep(self, document: Document, tenant: Tenant, sealing: Sealing) -> None:
        self._records.replace(document, msgspec.structs.replace(tenant, sealing=sealing))

    def _must_have_room(self, sealing: Sealing, arn: str) -> None:
        held = sealing.named(id_of(arn))
        if held is None and len(sealing.keys) >= MOST_KEYS:
            raise Conflict(f"A tenant registers {MOST_KEYS} KMS keys at most. Remove one first.")
        if held is not None and held.arn != arn:
            # Multi-region keys have one id in all their regions, and paths name keys by their id.
            raise Conflict(f"This key is registered in another region, as {held.arn}. Remove that one first.")


def _challenge_name(key_id: str) -> str:
    return f"kms-challenge#{key_id}"
