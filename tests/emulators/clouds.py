"""The local cloud as its own process, and botocore's unmodified clients of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from emulators.sagemaker_runtime import endpoints
from emulators.sagemaker_runtime.endpoints import Endpoints
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"


class Cloud:
    def __init__(self, told: dict[str, str], process: "subprocess.Popen[bytes]") -> None:
        self.url = told["url"]
        self.access_key_id = told["access_key_id"]
        self._secret = told["secret_access_key"]
        self._session = botocore.session.Session()
        self._clients: dict[str, Any] = {}
        self._process = process

    def client(self, service: str) -> Any:
        """Without retries: a test wants to see the first answer."""
        if service not in self._clients:
            self._clients[service] = self._session.create_client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                aws_access_key_id=self.access_key_id,
                aws_secret_access_key=self._secret,
                config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64),
            )
        return self._clients[service]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)


@contextmanager
def cloud(known: Endpoints, folder: Path, *arguments: str) -> Iterator[Cloud]:
    endpoints.write(known, folder / "endpoints.json")
    told, tell = os.pipe()
    command = [sys.executable, "-m", "local.cloud", "--endpoints", str(folder / "endpoints.json"), *arguments]
    process = subprocess.Popen([*command, "--ready-fd", str(tell)], pass_fds=[tell], cwd=ROOT)
    os.close(tell)
    try:
        with os.fdopen(told) as ready:
            line = ready.readline()
        assert line, "the cloud did not start"
        yield Cloud(json.loads(line), process)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
