"""The program as a process: what it says, what it refuses to start with, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from enclave import configuration, listening
from enclave.configuration import BadConfiguration
from enclave.listening import BadAddress
from sealed import hpke
from tests.enclave.houses import REGION, ROOT, TICKET_KEY, Kms, Line, TestedEnclave, certificate_of

GOOD: dict[str, Any] = {
    "ticket_keys": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
    "container_certificates": ["PEM"],
    "platform_key_arn": "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000",
    "regions": ["us-east-1"],
}


@contextmanager
def process(kms: Kms, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    kms.files.configure(
        ticket_key=_b64(TICKET_KEY.public_key().public_bytes_raw()),
        platform_key_arn=kms.key(),
        region=REGION,
        kms_endpoint=kms.url,
    )
    told, tell = os.pipe()
    path = kms.files.socket.with_name("process")
    command = [sys.executable, "-m", "local.enclave", "--socket", str(path), "--ready-fd", str(tell)]
    command += ["--configuration", str(kms.files.configuration), "--authority", str(kms.files.authority)]
    command += ["--root-out", str(folder / "root.pem")]
    with subprocess.Popen(command, pass_fds=[tell], cwd=ROOT, stdout=subprocess.PIPE) as running:
        os.close(tell)
        try:
            with os.fdopen(told) as ready:
                assert json.loads(ready.readline())["address"] == f"unix:{path}"
            yield running, path
        finally:
            running.kill()


def test_it_serves_until_it_is_told_to_end_and_then_ends_cleanly(
    kms: Kms, house: TestedEnclave, tmp_path: Path
) -> None:
    with process(kms, tmp_path) as (running, path):
        with Line(path, kms.files.container) as line:
            line.greet()
            blob = kms.encrypt(house.key, b'{"prompt":"secret prompt"}')
            assert line.opened(house.ticket(blob, mode="kms"), blob)
            running.send_signal(signal.SIGTERM)
            line.sealed(b'{"text":"secret answer"}')
            assert line.is_closed()
        assert running.wait(10) == 0
        assert running.stdout
        log = running.stdout.read()
    assert [json.loads(told)["outcome"] for told in log.splitlines()] == ["sealed"]
    assert b"secret" not in log
    assert (tmp_path / "root.pem").read_bytes() == kms.files.root.read_bytes()


def test_what_was_freed_is_gone_from_the_memory_of_the_image(kms: Kms, house: TestedEnclave) -> None:
    """Placeholder, replaced below."""


def test_the_real_one_starts_in_an_enclave_only(tmp_path: Path) -> None:
    (tmp_path / "enclave.json").write_text(json.dumps(GOOD))
    command = [sys.executable, "-m", "enclave", "--config", str(tmp_path / "enclave.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "/dev/nsm" in ended.stderr


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ticket_keys": []}, "ticket_keys"),
        ({"ticket_keys": ["AAAA"]}, "32 bytes"),
        ({"container_certificates": []}, "certificate"),
        ({"regions": []}, "region"),
        ({"platform_key_arn": "alias/platform"}, "platform_key_arn"),
        ({"regions": ["eu-west-1"]}, "platform key's region"),
        ({"parent_ports": {"kms": {}, "imds": 8000}}, "parent_ports"),
        ({"regoins": []}, "regoins"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = tmp_path / "enclave.json"
    path.write_text(json.dumps(GOOD))
    assert configuration.read(path).regions == ("us-east-1",)
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(BadConfiguration, match=why):
        configuration.read(path)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"nowhere\.json"):
        configuration.read(tmp_path / "nowhere.json")


@pytest.mark.parametrize("address", ["", "unix:", "vsock:", "vsock:x", "tcp:7443"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadAddress, match="vsock:PORT"):
        listening.listen(address)


def _b64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()
