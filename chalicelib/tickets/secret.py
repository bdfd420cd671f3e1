"""The key that signs tickets, in AWS Secrets Manager: a secret `{"ticket_key": "<base64 of the 32 raw bytes>"}`."""

import threading
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.settings import Settings
from chalicelib.tickets.issuer import Unreadable

KEY_BYTES = 32


class _Secret(msgspec.Struct, frozen=True):
    ticket_key: bytes


class TicketKey:
    """Reads the key each time it is called; makes its client at the first call. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self) -> bytes:
        """The raw private key. Raises Unreadable; its text never quotes the secret."""
        if not self._settings.ticket_secret:
            raise Unreadable("CLOISTER_TICKET_SECRET is not set.")
        try:
            answer = self._secrets_manager().get_secret_value(SecretId=self._settings.ticket_secret)
        except (BotoCoreError, ClientError) as error:
            raise Unreadable(f"Secrets Manager: {type(error).__name__}") from error
        try:
            key = msgspec.json.decode(answer.get("SecretString", ""), type=_Secret).ticket_key
        except msgspec.MsgspecError:
            key = b""
        if len(key) != KEY_BYTES:
            raise Unreadable(f"The secret's `ticket_key` is not the base64 of {KEY_BYTES} bytes.")
        return key

    def _secrets_manager(self) -> Any:
        with self._lock:
            if self._client is None:
                deadline_s = self._settings.store_deadline_ms / 1_000
                self._client = botocore.session.get_session().create_client(
                    "secretsmanager",
                    region_name=self._settings.region,
                    config=Config(
                        connect_timeout=deadline_s, read_timeout=deadline_s, retries={"total_max_attempts": 2}
                    ),
                )
            return self._client
