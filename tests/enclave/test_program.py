"""The program as a process: what it says, what it refuses to start with, and how it ends."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from enclave import configuration, listener
from enclave.configuration import BadConfiguration
from enclave.listener import BadAddress
from tests.enclave.houses import ROOT, Kms, Line, TestedEnclave
from tests.enclave.processes import process
from tests.patience import PATIENCE_S

GOOD: dict[str, Any] = {
    "ticket_keys": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
    "container_certificates": ["PEM"],
    "platform_key_arn": "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000",
    "regions": ["us-east-1"],
}


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
        assert running.wait(PATIENCE_S) == 0
        assert running.stdout
        log = running.stdout.read()
    assert [json.loads(told)["outcome"] for told in log.splitlines()] == ["sealed"]
    assert b"secret" not in log
    assert (tmp_path / "root.pem").read_bytes() == kms.files.root.read_bytes()


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
        listener.listen(address)
