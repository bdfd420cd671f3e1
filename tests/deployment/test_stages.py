"""Which stages there are, and what is said of one that is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.stages import complaint
from tests.deployment.packages import ROOT

STAGES = sorted(json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_there_is_packaged(stage: str) -> None:
    assert complaint(stage) is None


@pytest.mark.parametrize("stage", ["nope", "", "Dev", "dev "])
def test_a_stage_that_is_not_there_is_a_sentence_before_anything_is_installed(stage: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "package", f"STAGE={stage}", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first == f"There is no stage {stage!r}: .chalice/config.json has {', '.join(STAGES)}."
    assert all(line.startswith("make") for line in rest)
    assert list(tmp_path.iterdir()) == []
