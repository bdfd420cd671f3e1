"""Draws first-answer.svg: what two terminals really show from `make run` to a streamed answer.

    python docs/pictures/first_answer.py

Starts the local system on free ports with a state of its own, runs the README's first program against it, and stops it.
"""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COLUMNS = 108
PATIENCE_S = 300
DRAWN = HERE / "first-answer.svg"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        command = [sys.executable, "-m", "local", "--port", "0", "--state-dir", str(state)]
        system = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert system.stdout is not None
        try:
            started = _until(system.stdout, "Ctrl-C")
            answer = _answer(state / "env")
        finally:
            system.send_signal(signal.SIGINT)
            rest, _ = system.communicate(timeout=PATIENCE_S)
    requests = [line for line in rest.splitlines() if "/chat/completions" in line]
    shown = started.partition("\nA request:")[0].rstrip().replace("127.0.0.1:" + _port(started), "127.0.0.1:8000")
    DRAWN.write_text(_drawn(shown, requests, answer))


def _until(lines: IO[str], words: str) -> str:
    said = []
    for line in lines:
        said.append(line)
        if words in line:
            return "".join(said)
    raise SystemExit("The system did not start:\n" + "".join(said))


def _port(said: str) -> str:
    found = re.search(r"127\.0\.0\.1:(\d+)", said)
    assert found
    return found[1]


def _answer(env: Path) -> str:
    """What the README's first program prints."""
    (program, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = (line.removeprefix("export ").partition("=") for line in env.read_text().splitlines())
    variables = {name: shlex.split(value)[0] for name, _, value in lines}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout.strip()


def _drawn(shown: str, requests: list[str], answer: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    dim = "grey62"
    console.print(Text.assemble(("$ ", dim), "make run"))
    console.print(Text(f"{shown}\n"))
    console.print(Text("\n".join(requests), style=dim))
    console.print()
    console.print(Text.assemble(("$ ", dim), "source .local/env; python hello.py", ("      # the program below", dim)))
    console.print(Text(answer, style="bold"))
    svg = console.export_svg(title="Cloister")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no foreign host


if __name__ == "__main__":
    main()
