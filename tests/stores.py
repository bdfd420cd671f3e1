"""Served DynamoDBs, each a process of its own: the local cloud (moto, serialised) and ministack.

with served("local") as url:
    tables = fresh_tables(url)
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from chalicelib.dynamodb import Tables, open_tables
from chalicelib.tables import models_of
from emulators.sockets import reserve
from tests.patience import until

StoreName = Literal["local", "ministack"]
STORES: tuple[StoreName, ...] = ("local", "ministack")

REGION = "us-east-1"
ROOT = Path(__file__).parents[1]
_DEADLINE_MS = 10_000
# Any pair will do: neither store checks signatures.
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00", "AWS_SECRET_ACCESS_KEY": "example"}


def with_credentials() -> None:
    """Let botocore sign, and keep it from looking for credentials on the network."""
    os.environ.update(_CREDENTIALS, AWS_EC2_METADATA_DISABLED="true")
    os.environ.pop("AWS_PROFILE", None)


@contextmanager
def served(store: StoreName) -> Iterator[str]:
    """Start a store; yields its URL; stops it at the end."""
    with_credentials()
    with tempfile.TemporaryDirectory() as home:
        serve = _serve_local if store == "local" else _serve_ministack
        with serve(Path(home)) as url:
            yield url


@contextmanager
def _serve_local(home: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.cloud"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the local cloud did not start"
        yield json.loads(line)["url"]
    finally:
        _stop(process)


@contextmanager
def _serve_ministack(home: Path) -> Iterator[str]:
    with reserve() as held:
        yield from _on_port(held.getsockname()[1], home)


def _on_port(port: int, home: Path) -> Iterator[str]:
    environment = {
        **os.environ,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "dynamodb",
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(home),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ministack"],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(process)


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    def answers() -> bool:
        assert process.poll() is None, "the store stopped while starting"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    until(answers)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def reach_tables(url: str, prefix: str, deadline_ms: int = _DEADLINE_MS) -> Tables:
    """Tables that are there already; for a second process or a second client."""
    return open_tables(REGION, prefix, deadline_ms, url)


def fresh_tables(url: str, deadline_ms: int = _DEADLINE_MS) -> Tables:
    """Empty tables of their own."""
    tables = reach_tables(url, f"t{uuid.uuid4().hex[:12]}", deadline_ms)
    for model in models_of(tables).all:
        model.create_table(wait=True)
    return tables


def prefix_of(tables: Tables) -> str:
    return tables.prefix


class Served:
    """The stores of one test session, each started when it is first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._urls: dict[StoreName, str] = {}

    def url(self, store: StoreName) -> str:
        if store not in self._urls:
            self._urls[store] = self._stack.enter_context(served(store))
        return self._urls[store]

    def close(self) -> None:
        self._stack.close()


def sent(tables: Tables) -> list[str]:
    """A list that grows by the operation's name with every request that leaves for DynamoDB, repeated ones too."""
    operations: list[str] = []
    tables.connection.observe = operations.append
    return operations
