"""`python -m local.installation WHAT…`: what `pip install WHAT…` does, with one line that says how far it is.

Runs before anything is installed, so that it imports the standard library alone.
"""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator

# As pip writes it: a package that is needed, then its file and the file's size.
_NEEDED = re.compile(r"Collecting (?P<name>[A-Za-z0-9._-]+)")
_FETCHED = re.compile(r"\s*Downloading \S+ \((?P<size>[\d.]+) (?P<unit>bytes|kB|MB|GB)\)")
_MB = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
_LAST_WORDS = 20


def main() -> int:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    pip = subprocess.Popen([*command, *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert pip.stdout is not None
    said: deque[str] = deque(maxlen=_LAST_WORDS)
    # A terminal has one line that changes; a log has the last one alone.
    last = ""
    for last in progress(_kept(pip.stdout, said)):
        if sys.stdout.isatty():
            print(f"\r\033[K  {last}", end="", flush=True)
    if last:
        print("" if sys.stdout.isatty() else f"  {last}", flush=True)
    if pip.wait():
        print("".join(said), end="", file=sys.stderr)
    return pip.returncode


def progress(lines: Iterable[str]) -> Iterator[str]:
    """How far pip is, by what it says."""
    packages, megabytes, doing = 0, 0.0, ""
    for line in lines:
        if needed := _NEEDED.match(line):
            packages += 1
            doing = needed["name"]
        elif fetched := _FETCHED.match(line):
            megabytes += float(fetched["size"]) * _MB[fetched["unit"]]
        elif line.startswith("Installing collected packages"):
            doing = "installing"
        elif line.startswith("Successfully installed"):
            doing = "installed"
        else:
            continue
        if not packages:  # a file that was here already
            continue
        yield f"{packages} packages, {megabytes:.0f} MB: {doing}"


def _kept(lines: Iterable[str], said: "deque[str]") -> Iterator[str]:
    for line in lines:
        said.append(line)
        yield line


if __name__ == "__main__":
    sys.exit(main())
