"""Secrets of AWS Secrets Manager, read with the gateway's own role. Nothing of one is in any error or log."""

import logging
from collections.abc import Callable

from chalicelib.aws_client import AwsClient
from chalicelib.settings import Settings

# Where it logs its work, botocore logs all of it: answers of Secrets Manager, session tokens in what is signed.
logging.getLogger("botocore").setLevel(logging.INFO)


class Unreadable(Exception):
    """What a secret holds cannot be had; the text says why and quotes nothing of it."""


ReadSecret = Callable[[str], str]
"""A secret's text by its id. Raises Unreadable."""


class Secrets:
    """Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._secrets_manager = AwsClient("secretsmanager", settings)

    def __call__(self, secret: str) -> str:
        """See ReadSecret."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            text: str = self._secrets_manager().get_secret_value(SecretId=secret).get("SecretString", "")
        except (BotoCoreError, ClientError) as error:
            raise Unreadable(f"Secrets Manager: {type(error).__name__}") from None
        return text
