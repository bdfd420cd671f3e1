"""The server on its own: `python -m chalicelib.http.server`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from bench.processes import free_port
from emulators.sockets import listen, url
from tests.patience import PATIENCE_S, until
from tests.small_deployments import Gateway

ROOT = Path(__file__).parents[2]


def started(port: int, **environment: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "chalicelib.http.server", "--port", str(port)]
    return subprocess.Popen(command, cwd=ROOT, env=_bare() | environment, stderr=subprocess.PIPE)


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("CLOISTER_", "AWS_"))}


def answers(gateway: Gateway) -> bool:
    try:
        return gateway.call("GET", "/problems/not-found").status == 200
    except OSError:
        return False


def test_it_serves_until_it_is_told_to_stop() -> None:
    port = free_port()
    gateway = Gateway("127.0.0.1", port)
    with started(port) as server:
        try:
            until(lambda: answers(gateway))
            assert gateway.call("GET", "/live").json["status"] == "live"
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == -signal.SIGTERM


def test_a_port_in_use_is_one_sentence() -> None:
    with listen(0) as taken:
        port = int(url(taken).rpartition(":")[2])
        with started(port) as server:
            assert server.wait(PATIENCE_S) == 2
            assert server.stderr is not None
            assert server.stderr.read().startswith(b"cannot start: ")


def test_settings_that_make_no_sense_are_all_said() -> None:
    with started(free_port(), CLOISTER_TRUSTED_HOPS="-1", CLOISTER_CONNECTIONS="0") as server:
        assert server.wait(PATIENCE_S) == 2
        assert server.stderr is not None
        said = server.stderr.read()
    assert [name in said for name in (b"CLOISTER_TRUSTED_HOPS must be at least 0", b"CLOISTER_CONNECTIONS")] == [
        True
    ] * 2
