"""What a tenant does first: `pip install ./client`, in an environment that has nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SEALS_IN_EVERY_MODE = """
import cloister, sealed.attestation, sealed.esdk, sealed.hpke, sealed.kms_mode
sealed.attestation.aws_root()
cloister.SealedTransport(mode="hpke", measurements=[{0: "ab" * 48}])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment with the client in it."""
    folder = tmp_path_factory.mktemp("tenant")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    # The pip that is here, for it takes longest to make another one; it leaves compiling to whoever imports.
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-compile", "./client"], cwd=ROOT, check=True)
    return folder / "bin"


def test_the_installed_client_needs_nothing_else(environment: Path, tmp_path: Path) -> None:
    subprocess.run([environment / "python", "-c", SEALS_IN_EVERY_MODE], cwd=tmp_path, check=True)


def test_the_command_is_there(environment: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [environment / "cloister", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert {"chat", "keys", "attest", "policy", "doctor"} <= set(told.split())
