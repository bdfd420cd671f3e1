"""Stories that a real browser goes through: Debian's Chromium, driven by playwright-core from Node.

A story is a program beside this file, over `browse.mjs`; a test gives it facts, and judges what it says came of it.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests import npm
from tests.patience import PATIENCE_S

HERE = Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Its program; None where this machine has none."""


def told(story: str, folder: Path, **facts: Any) -> dict[str, Any]:
    """What the story says. `folder`: an empty one of its own."""
    # Node looks for packages above the file that imports them.
    (folder / "node_modules").symlink_to(npm.installed(HERE) / "node_modules")
    for program in HERE.glob("*.mjs"):
        shutil.copy(program, folder)
    given = {**facts, "chromium": CHROMIUM, "patienceMs": PATIENCE_S * 1_000}
    done = subprocess.run(
        ["node", str(folder / story)], input=json.dumps(given), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
