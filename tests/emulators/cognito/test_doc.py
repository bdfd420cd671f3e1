"""docs/local-cognito.md says what is so."""

import os
import re
import subprocess
import sys
from typing import get_args

from emulators.cognito import control
from emulators.cognito.operations import ANYBODYS, OPERATORS
from tests.local_system import ROOT, RunningSystem
from tests.patience import PATIENCE_S

PAGE = (ROOT / "docs" / "local-cognito.md").read_text()


def test_the_example_of_the_page_runs(running_system: RunningSystem) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    env = {**os.environ, **running_system.env}
    done = subprocess.run([sys.executable, "-c", example], env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    tokens = "['access_token', 'expires_in', 'id_token', 'refresh_token', 'token_type']"
    assert done.stdout.splitlines() == ["Bearer", tokens], done.stderr


def test_every_command_is_on_the_page_and_every_command_of_the_page_is_one() -> None:
    told = set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE))
    assert told == {each.__struct_config__.tag for each in get_args(control.Command)}


def test_every_operation_is_on_the_page_with_who_may_call_it() -> None:
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (anybody|operators)", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(
        [(name, "anybody") for name in ANYBODYS] + [(name, "operators") for name in OPERATORS]
    )
