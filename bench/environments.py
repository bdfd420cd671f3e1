"""What the contestants run on: one virtual environment each under `.bench/`, and Redis.

Made on first use and again when the requirements change; nothing is installed outside `.bench/`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".bench"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements"

REDIS_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1")


class NotInstallable(Exception):
    """Something the bench needs could not be installed; the text says what to do."""


def python(name: str, requirements: Path | None = None) -> Path:
    """The interpreter of the environment that the requirements (`requirements/<name>.txt`) describe; installs it when
    needed.

    Raises: NotInstallable.
    """
    requirements = requirements or REQUIREMENTS / f"{name}.txt"
    place = PLACE / name
    stamp = place / "installed"
    wanted = hashlib.sha256("".join(_lines(requirements)).encode()).hexdigest()
    interpreter = place / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"installing {name} into .bench/{name} ...", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", place])
    _run([interpreter, "-m", "pip", "install", "--quiet", "--requirement", requirements])
    stamp.write_text(wanted)
    return interpreter


def gateway(tree: Path) -> Path:
    """The interpreter for the gateway of another tree: that of this one, unless the requirements differ.

    Raises: NotInstallable.
    """
    theirs = tree / REQUIREMENTS.relative_to(ROOT) / "gateway.txt"
    if not theirs.exists():
        raise NotInstallable(f"the commit is older than the bench: it has no {theirs.relative_to(tree)}")
    same = list(_lines(theirs)) == list(_lines(REQUIREMENTS / "gateway.txt"))
    return python("gateway") if same else python("gateway-before", theirs)


def redis_server() -> tuple[Path, dict[str, str]]:
    """The Redis server and the environment it needs: the installed one, or Debian's unpacked under `.bench/redis`.

    Raises: NotInstallable.
    """
    installed = shutil.which("redis-server")
    if installed is not None:
        return Path(installed), {}
    place = PLACE / "redis"
    server = place / "usr" / "bin" / "redis-server"
    if not server.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise NotInstallable("redis-server is missing: install it and run the bench again")
        print("unpacking redis-server into .bench/redis ...", flush=True)
        place.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "-q", *REDIS_PACKAGES], at=place)
        for package in place.glob("*.deb"):
            _run(["dpkg", "-x", package, place])
    libraries = next((place / "usr" / "lib").glob("*-linux-gnu"))
    return server, {"LD_LIBRARY_PATH": str(libraries)}


def version(interpreter: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _lines(path: Path) -> Iterable[str]:
    """The requirement lines, those of included files too."""
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            yield from _lines(path.parent / line[3:].strip())
        else:
            yield line + "\n"


def _run(command: list[str | Path], *, at: Path | None = None) -> None:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, cwd=at, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise NotInstallable(f"`{' '.join(parts[:6])} ...` failed:\n{done.stderr.strip()[-1500:]}")
