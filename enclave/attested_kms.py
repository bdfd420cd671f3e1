"""KMS, which answers to this very enclave only: each secret comes sealed to a key that its attestation vouches for.

TLS to KMS ends here, connections are pooled, and the attestation document is used again for minutes.
`Encrypt` alone takes no attestation (AWS KMS API reference, "Encrypt"): whoever holds the role may do what it does.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave.refusal import NotOpened, Unavailable
from enclave.security_module import ModuleFailed, SecurityModule
from sealed import cms
from sealed.arn import KeyArn
from sealed.refusal import EnvelopeRefused

DOCUMENT_LIFE_S = 120.0
"""KMS refuses a document that is older than five minutes."""

CONNECTIONS = 64
CONNECT_S = 1.0
ANSWER_S = 2.0
IMDS_ATTEMPTS = 5

CALLERS_FAULTS = {
    "AccessDeniedException",
    "DisabledException",
    "IncorrectKeyException",
    "InvalidCiphertextException",
    "InvalidKeyUsageException",
    "KMSInvalidStateException",
    "NotFoundException",
    "ValidationException",
}
"""KMS's errors that speak of the caller's key and ciphertext; all others are ours or KMS's own."""


class Recipient:
    """To whom KMS seals its answers: an RSA key made at the start, and the document that vouches for it."""

    def __init__(self, module: SecurityModule, now_s: Callable[[], float] = time.monotonic) -> None:
        self.private_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self._public = self.private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._module = module
        self._now_s = now_s
        self._lock = threading.Lock()
        self._document = b""
        self._stale_s = 0.0

    def parameter(self) -> dict[str, Any]:
        """KMS's `Recipient`. Raises ModuleFailed."""
        with self._lock:
            if not self._document or self._now_s() >= self._stale_s:
                self._document = self._module.attest(public_key=self._public)
                self._stale_s = self._now_s() + DOCUMENT_LIFE_S
            return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": self._document}


class KeyUse:
    """One KMS key and no other, with those calls of boto3's client that the Encryption SDK makes.

    All raise NotOpened and Unavailable. Thread-safe.
    """

    def __init__(self, key: KeyArn, client: Any, recipient: Recipient) -> None:
        self.arn = str(key)
        self._client = client
        self._recipient = recipient

    def decrypt(self, **parameters: Any) -> dict[str, Any]:
        return self._attested("decrypt", parameters)

    def generate_data_key(self, **parameters: Any) -> dict[str, Any]:
        return self._attested("generate_data_key", parameters)

    def encrypt(self, **parameters: Any) -> dict[str, Any]:
        return self._call("encrypt", parameters)

    def decrypt_unattested(self, **parameters: Any) -> dict[str, Any]:
        """What a good key policy denies, only to show that it does."""
        return self._call("decrypt", parameters)

    def _attested(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self._call(operation, {**parameters, "Recipient": self._recipient.parameter()})
            envelope = answer.pop("CiphertextForRecipient", None)
            if answer.get("Plaintext") or not envelope:
                # For anybody to read, or not there at all: attestation means nothing to this KMS.
                raise Unavailable("KMS does not seal its answers to the enclave.", "downgrade")
            return answer | {"Plaintext": cms.open_envelope(envelope, self._recipient.private_key)}
        except EnvelopeRefused as error:
            raise Unavailable("KMS's answer is not sealed to this enclave.", "envelope") from error
        except ModuleFailed as error:
            raise Unavailable("The enclave cannot prove itself to KMS.", str(error)) from error

    def _call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if parameters.get("KeyId") != self.arn:
            raise NotOpened("another key")
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        except ClientError as error:
            name = error.response["Error"]["Code"]
            if name in CALLERS_FAULTS:
                raise NotOpened(name) from error
            raise Unavailable("KMS does not serve now; try again.", name) from error
        except BotoCoreError as error:
            raise Unavailable("KMS does not answer; try again.", type(error).__name__) from error
        return answer


class NoCredentials(Exception):
    """The text is for the log."""


class AttestedKms:
    """The KMS of each region on the allow list."""

    def __init__(self, regions: Iterable[str], endpoints: Mapping[str, str], recipient: Recipient) -> None:
        """Raises NoCredentials: a client that is made without them would never look for them again."""
        session = botocore.session.Session()
        session.set_config_variable("metadata_service_num_attempts", IMDS_ATTEMPTS)
        if session.get_credentials() is None:
            raise NoCredentials(
                "There are no AWS credentials: on EC2, does the parent forward IMDS, and has it a role?"
            )
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=ANSWER_S,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
        )
        self._recipient = recipient
        self._clients = {
            region: session.create_client("kms", region, endpoint_url=endpoints.get(region), config=config)
            for region in regions
        }

    def under(self, key: KeyArn) -> KeyUse:
        """Raises NotOpened for a key of a region that is not on the list."""
        if key.region not in self._clients:
            raise NotOpened("region")
        return KeyUse(key, self._clients[key.region], self._recipient)


def host_names(regions: Iterable[str]) -> dict[str, str]:
    """Region -> the name of AWS's own KMS there. Looks for no credentials: there may be no way to them yet."""
    session = botocore.session.Session()
    clients = {
        region: session.create_client("kms", region, aws_access_key_id="none", aws_secret_access_key="none")  # noqa: S106
        for region in regions
    }
    return {region: str(urlsplit(client.meta.endpoint_url).hostname) for region, client in clients.items()}
