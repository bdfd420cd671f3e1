"""What a tenant does first: `pip install ./client`, in an environment that has nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
OURS = [*(ROOT / "sealed").glob("*.py"), *(ROOT / "client" / "cloister").rglob("*.py")]

SEALS_IN_EVERY_MODE = """
import importlib, pkgutil
import cloister
for module in pkgutil.walk_packages(cloister.__path__, "cloister."):
    importlib.import_module(module.name)
cloister._sealed.attestation.aws_root()
cloister.SealedTransport(mode="hpke", measurements=[{0: "ab" * 48}])
for mode in ("esdk", "kms"):
    cloister.SealedTransport(
        mode=mode,
        measurements=[{0: "ab" * 48}],
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012",
        kms_client=object(),
    )
"""


class Tenant:
    """A new virtual environment with the client in it, and what builds its distributions beside it."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.programs = folder / "venv" / "bin"
        self._builder = folder / "builder"
        self.pip("install", "--no-compile", "./client")
        self.pip("install", "--target", str(self._builder), "hatchling")

    def pip(self, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        """By the pip that is here: it takes long to make another one."""
        environ = {**os.environ, **(environ or {})}
        pip = [sys.executable, "-m", "pip", "--python", str(self.programs / "python"), "--quiet"]
        subprocess.run([*pip, *arguments], cwd=ROOT, env=environ, check=True)

    def wheel(self, source: str, into: Path) -> Path:
        """What `pip wheel` makes of a folder or of an sdist."""
        path = {"PYTHONPATH": str(self._builder)}
        self.pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), source, environ=path)
        return next(into.glob("*.whl"))

    def sdist(self, into: Path) -> Path:
        command = [str(self.programs / "python"), "-m", "hatchling", "build", "--target", "sdist"]
        environ = {**os.environ, "PYTHONPATH": str(self._builder)}
        subprocess.run([*command, "--directory", str(into)], cwd=ROOT / "client", env=environ, check=True)
        return next(into.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    return Tenant(tmp_path_factory.mktemp("tenant"))


@pytest.fixture(scope="module")
def wheel(tenant: Tenant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tenant.wheel("./client", tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def record(wheel: Path) -> set[str]:
    """The files that an installer writes, and none besides."""
    (text,) = (data for name, data in contents(wheel).items() if name.endswith(".dist-info/RECORD"))
    return {line.split(",")[0] for line in text.decode().splitlines()}


def test_the_installed_client_needs_nothing_else(tenant: Tenant, tmp_path: Path) -> None:
    subprocess.run([tenant.programs / "python", "-c", SEALS_IN_EVERY_MODE], cwd=tmp_path, check=True)


def test_the_command_is_there(tenant: Tenant, tmp_path: Path) -> None:
    told = subprocess.run(
        [tenant.programs / "cloister", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert {"chat", "keys", "attest", "policy", "doctor"} <= set(told.split())


def test_the_wheel_installs_one_name(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in record(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == {"cloister"}


def test_the_wheel_holds_the_formats_as_they_are_here(wheel: Path) -> None:
    folder = "cloister/_sealed/"
    inside = {name.removeprefix(folder): data for name, data in contents(wheel).items() if name.startswith(folder)}
    assert inside == {path.name: path.read_bytes() for path in (ROOT / "sealed").iterdir() if path.is_file()}
    assert "aws_nitro_root.pem" in inside


def test_a_module_of_the_tenants_own_shadows_none_of_ours(tenant: Tenant, tmp_path: Path) -> None:
    names = {path.stem for path in OURS if not path.stem.startswith("_")}
    assert {"attestation", "modes"} <= names
    for name in {"sealed", *names}:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py is the tenant's own')\n")
    script = tmp_path / "script.py"
    script.write_text(SEALS_IN_EVERY_MODE)
    subprocess.run([tenant.programs / "python", script], cwd=tmp_path, check=True)


def test_nothing_in_the_wheel_looks_for_the_formats_outside_of_it() -> None:
    assert not [path for path in OURS if re.search(r"^\s*(from|import) sealed\b", path.read_text(), re.MULTILINE)]


def test_the_sdist_builds_the_same_wheel(tenant: Tenant, wheel: Path, tmp_path: Path) -> None:
    sdist = tenant.sdist(tmp_path)
    assert contents(tenant.wheel(str(sdist), tmp_path / "wheel")) == contents(wheel)
