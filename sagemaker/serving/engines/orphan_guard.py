"""`python -m serving.engines.orphan_guard PROGRAM ARGUMENT…`: run a program that must not outlive the container.

The container holds the other end of our standard input. When that closes, however the container ended, the program
and all it started (they share our process group) are killed: a GPU must not stay occupied by an orphan.
"""

import os
import signal
import subprocess
import sys
import threading


def _watch() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
