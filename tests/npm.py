"""Packages of npm, for what is proved against AWS's own JavaScript."""

import fcntl
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]


def installed(described: Path) -> Path:
    """The folder of the packages, exactly those of `described`'s lock file; installed once, and when that changes."""
    lock = (described / "package-lock.json").read_bytes()
    folder = ROOT / ".local" / "node" / sha256(lock).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # other workers want it, too
        if not folder.exists():
            _install(described, folder)
    return folder


def _install(described: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        for name in ("package.json", "package-lock.json"):
            (Path(fresh) / name).write_bytes((described / name).read_bytes())
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=fresh, check=True, timeout=600)
        # Whole or not at all: an installation that was interrupted is not taken for one.
        Path(fresh).rename(folder)
        Path(fresh).mkdir()
