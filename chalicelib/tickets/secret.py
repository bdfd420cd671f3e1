"""The key that signs tickets, in AWS Secrets Manager: a secret `{"ticket_key": "<base64 of the 32 raw bytes>"}`."""

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_client import AwsClient
from chalicelib.settings import Settings
from chalicelib.tickets.issuer import Unreadable

KEY_BYTES = 32


class _Secret(msgspec.Struct, frozen=True):
    ticket_key: bytes


class TicketKey:
    """Reads the key each time it is called. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.ticket_secret
        self._secrets_manager = AwsClient("secretsmanager", settings)

    def __call__(self) -> bytes:
        """The raw private key. Raises Unreadable; its text never quotes the secret."""
        if not self._secret:
            raise Unreadable("CLOISTER_TICKET_SECRET is not set.")
        try:
            answer = self._secrets_manager().get_secret_value(SecretId=self._secret)
        except (BotoCoreError, ClientError) as error:
            raise Unreadable(f"Secrets Manager: {type(error).__name__}") from error
        try:
            key = msgspec.json.decode(answer.get("SecretString", ""), type=_Secret).ticket_key
        except msgspec.MsgspecError:
            key = b""
        if len(key) != KEY_BYTES:
            raise Unreadable(f"The secret's `ticket_key` is not the base64 of {KEY_BYTES} bytes.")
        return key
