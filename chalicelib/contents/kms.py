"""Data keys by a symmetric key in AWS KMS, which never leaves it.

https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
"""

import threading
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contents.data_keys import NoKey, Wrapped, blob_of, context_of, text_of
from chalicelib.settings import Settings


class KmsKeys:
    """Implements KeyService. Makes its client at the first call. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None

    def make(self, tenant: str) -> tuple[bytes, Wrapped]:
        answer = self._asked(
            "generate_data_key",
            KeyId=self._settings.content_key,
            KeySpec="AES_256",
            EncryptionContext=context_of(tenant),
        )
        return answer["Plaintext"], Wrapped(answer["KeyId"], text_of(answer["CiphertextBlob"]))

    def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        answer = self._asked(
            "decrypt",
            KeyId=wrapped.key,
            CiphertextBlob=blob_of(wrapped.text),
            EncryptionContext=context_of(tenant),
        )
        key: bytes = answer["Plaintext"]
        return key

    def _asked(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._kms(), operation)(**arguments)
        except ClientError as error:
            raise NoKey(f"KMS: {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise NoKey(f"KMS: {type(error).__name__}") from None

    def _kms(self) -> Any:
        with self._lock:
            if self._client is None:
                deadline_s = self._settings.store_deadline_ms / 1_000
                self._client = botocore.session.get_session().create_client(
                    "kms",
                    region_name=self._settings.region,
                    config=Config(
                        connect_timeout=deadline_s, read_timeout=deadline_s, retries={"total_max_attempts": 2}
                    ),
                )
            return self._client
