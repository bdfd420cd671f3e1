"""Data keys by a symmetric key in AWS KMS, which never leaves it.

https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_client import AwsClient
from chalicelib.contents.data_keys import NoKey, Wrapped, blob_of, context_of, text_of
from chalicelib.settings import Settings


class KmsKeys:
    """Implements KeyService. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.content_key
        self._kms = AwsClient("kms", settings)

    def make(self, tenant: str) -> tuple[bytes, Wrapped]:
        answer = self._asked(
            "generate_data_key",
            KeyId=self._key,
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
