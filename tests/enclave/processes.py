"""The enclave's program as a process of its own."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.enclave.houses import REGION, ROOT, TICKET_KEY, Kms


@contextmanager
def process(
    kms: Kms, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    kms.files.configure(
        ticket_key=base64.b64encode(TICKET_KEY.public_key().public_bytes_raw()).decode(),
        platform_key_arn=kms.key(),
        region=REGION,
        kms_endpoint=kms.url,
    )
    env = {**os.environ, **(environment or {})}
    told, tell = os.pipe()
    path = kms.files.socket.with_name("process")
    command = [sys.executable, "-m", "local.enclave", "--socket", str(path), "--ready-fd", str(tell)]
    command += ["--configuration", str(kms.files.configuration), "--authority", str(kms.files.authority)]
    command += ["--root-out", str(folder / "root.pem")]
    with subprocess.Popen(command, pass_fds=[tell], cwd=ROOT, stdout=subprocess.PIPE, env=env) as running:
        os.close(tell)
        try:
            with os.fdopen(told) as ready:
                assert json.loads(ready.readline())["address"] == f"unix:{path}"
            yield running, path
        finally:
            running.kill()
