"""What goes into the enclave's image, and what it does there to what it frees."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from enclave.attested_kms import host_names
from guard import Rule, Rules, SentRules
from sealed import esdk, hpke
from tests.enclave.houses import ROOT, Kms, Line, TestedEnclave
from tests.enclave.processes import process

ENCLAVE = ROOT / "enclave"
DOCKERFILE = (ENCLAVE / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
RULES = Rules(
    rules=(Rule("a", "[0-9a-f]{1,24}!"), Rule("b", "(?i)[a-z]{1,9} is secret", "refuse")), packs=("cards", "mail")
)
OURS = ("enclave", "guard", "sealed")
SCRIPTS = [*ENCLAVE.glob("*.sh"), *(ENCLAVE / "parent").glob("*.sh")]


def imported(package: str) -> set[str]:
    """The top-level packages that this one imports."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:  # a relative one is its own
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


def locked() -> dict[str, str]:
    """Package -> its pin and its hashes."""
    text = (ENCLAVE / "requirements.lock").read_text()
    return {entry.partition("==")[0]: entry for entry in re.split(r"\n(?=\w)", text)[1:]}


def test_the_image_holds_the_packages_that_the_program_imports_and_nothing_else() -> None:
    copied = {word for line in DOCKERFILE if line.startswith("COPY ") for word in line.split()[1:-1]}
    ours = {name for package in OURS for name in imported(package) if (ROOT / name).is_dir()}
    assert ours == set(OURS)
    assert copied == ours | {"enclave/requirements.lock", "enclave.json"}


def test_every_package_is_pinned_by_hash() -> None:
    packages = locked()
    assert all("--hash=sha256:" in entry for entry in packages.values())
    for pin in re.findall(r"^([\w.-]+==[\w.]+)$", (ENCLAVE / "requirements.txt").read_text(), re.MULTILINE):
        assert packages[pin.partition("==")[0]].startswith(pin + " ")
    makers = packages_distributions()
    for module in {name for package in OURS for name in imported(package)} - set(OURS):
        assert {maker.lower() for maker in makers[module]} & packages.keys(), module


def test_the_base_is_pinned_by_digest() -> None:
    (base,) = [line for line in DOCKERFILE if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)


def test_the_images_files_alone_are_a_program(tmp_path: Path) -> None:
    for package in OURS:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    (command,) = [json.loads(line.removeprefix("CMD ")) for line in DOCKERFILE if line.startswith("CMD ")]
    ended = subprocess.run(
        [sys.executable, *command[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "enclave.json: [Errno 2]" in ended.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def test_the_parent_lets_the_enclave_reach_kms_of_its_regions_and_nothing_else() -> None:
    regions = json.loads((ENCLAVE / "parent" / "enclave.json").read_text())["parent_ports"]["kms"]
    allowed = re.findall(r"\{address: (\S+), port: (\d+)\}", (ENCLAVE / "parent" / "vsock-proxy.yaml").read_text())
    assert set(allowed) == {(name, "443") for name in host_names(regions).values()} | {("169.254.169.254", "80")}


def memory(pid: int) -> Iterator[bytes]:
    """What the process can write, range by range."""
    maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    with Path(f"/proc/{pid}/mem").open("rb", 0) as held:
        for bounds, rights, *_ in maps:
            if rights.startswith("rw"):
                begin, end = (int(bound, 16) for bound in bounds.split("-"))
                with suppress(OSError):  # the stack of a thread that has ended meanwhile
                    held.seek(begin)
                    yield held.read(end - begin)


@pytest.mark.parametrize(
    ("mode", "rules"), [*((mode, b"") for mode in ("hpke", "esdk", "kms")), ("hpke", SentRules(RULES).written())]
)
def test_what_was_opened_judged_and_sealed_is_gone_from_memory_afterwards(
    kms: Kms, house: TestedEnclave, tmp_path: Path, mode: str, rules: bytes
) -> None:
    """With the image's own allocator settings, and by reading the whole memory of the process."""
    (settings,) = [shlex.split(line.removeprefix("ENV ")) for line in DOCKERFILE if line.startswith("ENV ")]
    environment = dict(setting.split("=", 1) for setting in settings)
    marker = os.urandom(12).hex().encode()
    secret = b'{"text":"' + marker * 40 + b'"}'
    with process(kms, tmp_path, environment) as (running, path):
        drained = threading.Thread(target=lambda: running.stdout and running.stdout.read())
        drained.start()
        with Line(path, kms.files.container) as line:
            line.greet()
            blob = {
                "hpke": lambda: hpke.seal_request(
                    house.epoch_of(line), tenant="acme", request_id="request-1", pool="demo", plaintext=secret
                )[0],
                "esdk": lambda: esdk.seal(
                    kms.client, house.key, esdk.request_context(tenant="acme", request_id="request-1"), secret
                ),
                "kms": lambda: kms.encrypt(house.key, secret),
            }[mode]()
            if rules:
                assert line.opened(*house.ruled(blob, rules, mode=mode)) == b"\0" + secret
            else:
                assert line.opened(house.ticket(blob, mode=mode), blob) == secret
            line.sealed(secret)
            line.drop()
        found = sum(range_.count(marker) for range_ in memory(running.pid))
        running.terminate()
        drained.join()
    assert found == 0
