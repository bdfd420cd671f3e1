"""llama.cpp in a process of its own: it starts threads and takes over signals, which would disturb other tests.

`python -m tests.images.llama_process MODEL PURPOSE` prints its base URL and serves until its standard input ends.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
Purpose = Literal["chat", "embeddings"]


@contextmanager
def llama(model: Path, purpose: Purpose) -> Iterator[httpx.Client]:
    """An HTTP client of a llama.cpp server that has loaded `model`; the server ends with the block."""
    command = [sys.executable, "-m", "tests.images.llama_process", str(model.resolve()), purpose]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        base_url = process.stdout.readline().strip()
        assert base_url, f"llama.cpp could not load {model.name}"
        with httpx.Client(base_url=base_url, timeout=PATIENCE_S) as client:
            yield client
        process.stdin.close()


def _serve(model: str, purpose: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel = 2048, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # several, on busy cores, wait for each other
    params.embedding = purpose == "embeddings"
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
