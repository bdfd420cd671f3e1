"""A client of an AWS service with the gateway's own role, for what a call has to wait for before it can go on.

botocore is imported where a client is made: it takes longer than all else at a cold start, and most calls need none.
"""

import threading
from typing import TYPE_CHECKING, Any

from chalicelib.settings import Settings

if TYPE_CHECKING:
    from botocore.config import Config


class AwsClient:
    """Made at the first call, which gives it; the same one ever after. Thread-safe."""

    def __init__(self, service: str, settings: Settings, *, attempts: int = 2) -> None:
        self._service = service
        self._settings = settings
        self._attempts = attempts
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self) -> Any:
        with self._lock:
            if self._client is None:
                import botocore.session

                self._client = botocore.session.get_session().create_client(
                    self._service,
                    region_name=self._settings.region,
                    config=config_of(self._settings, attempts=self._attempts),
                )
            return self._client


def config_of(settings: Settings, *, attempts: int = 2) -> "Config":
    """The store's deadline for each attempt."""
    from botocore.config import Config

    deadline_s = settings.store_deadline_ms / 1_000
    return Config(connect_timeout=deadline_s, read_timeout=deadline_s, retries={"total_max_attempts": attempts})
