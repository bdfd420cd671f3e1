"""Signatures by an asymmetric key in AWS KMS, whose private half nobody has."""

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_client import AwsClient
from chalicelib.ledger.notary import CannotSign
from chalicelib.settings import Settings


class KmsSignature:
    """Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.audit_key
        self._kms = AwsClient("kms", settings, attempts=5)  # nobody waits for it

    def __call__(self, message: bytes) -> bytes:
        """The DER form of an ECDSA signature over SHA-256, of at most 4,096 bytes. Raises CannotSign.

        https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
        """
        try:
            answer = self._kms().sign(
                KeyId=self._key,
                Message=message,
                MessageType="RAW",
                SigningAlgorithm="ECDSA_SHA_256",
            )
        except (BotoCoreError, ClientError) as error:
            raise CannotSign(f"CLOISTER_AUDIT_KEY cannot sign: {error}") from error
        signature: bytes = answer["Signature"]
        return signature
