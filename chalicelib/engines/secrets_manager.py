"""Secrets of AWS Secrets Manager, read with the gateway's own role. Nothing of one is in any error or log."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.settings import Settings

# Where it logs its work, botocore logs all of it: answers of Secrets Manager, session tokens in what is signed.
logging.getLogger("botocore").setLevel(logging.INFO)


class Unreadable(Exception):
    """What a secret holds cannot be had; the text says why and quotes nothing of it."""


ReadSecret = Callable[[str], str]
"""A secret's text by its id. Raises Unreadable."""


class Secrets:
    """Makes its client at the first. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self, secret: str) -> str:
        """See ReadSecret."""
        with self._lock:
            if self._client is None:
                self._client = botocore.session.get_session().create_client(
                    "secretsmanager", region_name=self._settings.region, config=config_of(self._settings)
                )
        try:
            text: str = self._client.get_secret_value(SecretId=secret).get("SecretString", "")
        except (BotoCoreError, ClientError) as error:
            raise Unreadable(f"Secrets Manager: {type(error).__name__}") from None
        return text


def config_of(settings: Settings) -> Config:
    """For whatever a call has to wait for before it can be sent."""
    deadline_s = settings.store_deadline_ms / 1_000
    return Config(connect_timeout=deadline_s, read_timeout=deadline_s, retries={"total_max_attempts": 2})
