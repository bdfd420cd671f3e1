"""`python -m local`: the command line. Whatever is wrong is said in one sentence, with exit status 2."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from emulators.sockets import port_number
from local.port import PortUnusable, listen_or_say
from local.state import StateDirectory

NEEDED = (
    *("_ssl", "chalice", "flask", "flask_cors", "httptools", "joserfc", "moto", "msgspec", "pynamodb", "uvicorn"),
    "xllamacpp",
)
CANNOT_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole of Cloister on this machine.")
    parser.add_argument(
        "--port", type=port_number, default=8000, help="where the gateway listens; 0: any free port [8000]"
    )
    parser.add_argument("--state-dir", type=Path, default=Path(".local"), help="what it keeps, logs and env [.local]")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier starts have kept there")
    parser.add_argument("--quiet", action="store_true", help="write no line for each request")
    parser.add_argument("--check", action="store_true", help="start nothing; only see whether the port can be used")
    options = parser.parse_args(arguments)
    if sys.version_info < (3, 11):  # noqa: UP036  make run checks it too, but not everybody uses make
        return _refuse(f"Cloister needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    if options.check:
        return _check(options.port)
    if missing := [module for module in NEEDED if find_spec(module) is None]:
        return _refuse(
            f"This Python lacks {', '.join(missing)}: `make run` installs everything into .venv, "
            "and `pip install -r local/requirements.txt` into this one."
        )

    from local.terminal import CannotStart, run  # not before it is known that what it imports is there

    # Another number than 1: the gateway has its own there.
    screen = None if options.quiet else os.dup(sys.stdout.fileno())
    try:
        return run(options.port, StateDirectory(options.state_dir.absolute(), fresh=options.fresh), screen)
    except CannotStart as problem:
        return _refuse(str(problem))


def _check(port: int) -> int:
    try:
        listen_or_say(port).close()
    except PortUnusable as problem:
        return _refuse(str(problem))
    return 0


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
