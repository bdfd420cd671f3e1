"""Signatures by an asymmetric key in AWS KMS, whose private half nobody has."""

import threading
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.ledger.notary import CannotSign
from chalicelib.settings import Settings


class KmsSignature:
    """Makes its client at the first call. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self, message: bytes) -> bytes:
        """The DER form of an ECDSA signature over SHA-256, of at most 4,096 bytes. Raises CannotSign.

        https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
        """
        try:
            answer = self._kms().sign(
                KeyId=self._settings.audit_key,
                Message=message,
                MessageType="RAW",
                SigningAlgorithm="ECDSA_SHA_256",
            )
        except (BotoCoreError, ClientError) as error:
            raise CannotSign(f"CLOISTER_AUDIT_KEY cannot sign: {error}") from error
        signature: bytes = answer["Signature"]
        return signature

    def _kms(self) -> Any:
        with self._lock:
            if self._client is None:
                deadline_s = self._settings.store_deadline_ms / 1_000
                self._client = botocore.session.get_session().create_client(
                    "kms",
                    region_name=self._settings.region,
                    config=Config(connect_timeout=deadline_s, read_timeout=deadline_s),
                )
            return self._client
