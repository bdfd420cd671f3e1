"""docs/local-cognito.md says what is so."""

import os
import re
import subprocess
import sys
from typing import get_args

import httpx

from emulators.cognito import control
from emulators.cognito.operations import ANYBODYS, OPERATORS
from tests.local_system import ROOT, RunningSystem
from tests.patience import PATIENCE_S

PAGE = (ROOT / "docs" / "local-cognito.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WITHOUT_JOINING = """
base, tenant = os.environ["CLOISTER_BASE_URL"], os.environ["CLOISTER_TENANT"]
token = Token()
"""


def run(example: str, system: RunningSystem) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **system.env}
    return subprocess.run([sys.executable, "-c", example], env=env, capture_output=True, text=True, timeout=PATIENCE_S)


def test_the_example_of_the_page_runs(running_system: RunningSystem) -> None:
    done = run(EXAMPLES[0], running_system)
    tokens = "['access_token', 'expires_in', 'id_token', 'refresh_token', 'token_type']"
    assert done.stdout.splitlines() == ["Bearer", tokens], done.stderr


def test_a_machine_of_the_page_asks_by_its_client_credentials_as_a_member_until_it_is_removed(
    running_system: RunningSystem,
) -> None:
    done = run(EXAMPLES[1], running_system)
    assert "Cloister" in done.stdout, done.stderr
    with httpx.Client(base_url=running_system.base_url, trust_env=False, timeout=PATIENCE_S) as http:
        owner = {"authorization": f"Bearer {running_system.api_key}"}
        members = f"/tenants/{running_system.tenant}/members"
        (machine,) = [each for each in http.get(members, headers=owner).json()["members"] if "@" not in each["subject"]]
        assert (machine["role"], machine["state"]) == ("developer", "active")
        assert http.delete(f"{members}/{machine['subject']}", headers=owner).status_code == 204
        again = run(re.sub(r"\n# Once:.*?\n\n", WITHOUT_JOINING, EXAMPLES[1], flags=re.DOTALL), running_system)
    assert "NotFoundError" in again.stderr


def test_every_command_is_on_the_page_and_every_command_of_the_page_is_one() -> None:
    told = set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE))
    assert told == {each.__struct_config__.tag for each in get_args(control.Command)}


def test_every_operation_is_on_the_page_with_who_may_call_it() -> None:
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (anybody|operators)", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(
        [(name, "anybody") for name in ANYBODYS] + [(name, "operators") for name in OPERATORS]
    )
