"""Virtual environments of their own for packages whose pins would disturb ours."""

import fcntl
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_of(requirements: Path) -> Path:
    """A Python that has exactly the packages of this lock file; installed once, and when that changes."""
    lock = requirements.read_bytes()
    folder = ROOT / ".local" / "clients" / sha256(lock + sys.version.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # other workers want it, too
        if not folder.exists():
            _install(requirements, folder)
    return folder / "bin" / "python"


def _install(requirements: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh], check=True)
        # uv, because pip takes a minute where it takes a second; the lock names everything, so nothing is resolved.
        command = ["uv", "pip", "install", "--quiet", "--system-certs", "--no-deps", "--python", f"{fresh}/bin/python"]
        subprocess.run([sys.executable, "-m", *command, "--requirement", str(requirements)], check=True, timeout=600)
        # Whole or not at all: an installation that was interrupted is not taken for one.
        Path(fresh).rename(folder)
        Path(fresh).mkdir()
