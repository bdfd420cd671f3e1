"""docs/local-bedrock.md says what is so, and the command line says what is wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from emulators.bedrock import control
from emulators.bedrock.catalogue import MODELS
from tests.emulators.bedrock.served import HAIKU, ROOT, Served, served, user
from tests.patience import PATIENCE_S

PAGE = (ROOT / "docs" / "local-bedrock.md").read_text()


def test_the_example_of_the_page_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)

    said = done.stdout.splitlines()
    assert "with on-demand throughput isn’t supported." in said[0], done.stderr
    assert said[1:] == ["[{'text': 'Say this again.'}]", "[400, 429, 429, 200]"]


def test_every_command_is_on_the_page_and_every_command_of_the_page_is_one() -> None:
    told = set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE))

    assert told == {each.__struct_config__.tag for each in get_args(control.Command)}


def test_every_model_is_on_the_page_with_its_profiles() -> None:
    rows = re.findall(r"^\| `([a-z0-9.:-]+)` \| (yes|no) \| ([a-z, -]+) \|$", PAGE, re.MULTILINE)

    assert {(name, on_demand == "yes", profiles) for name, on_demand, profiles in rows} == {
        (model.id, model.on_demand, ", ".join(model.geographies) or "none") for model in MODELS.values()
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "70000"], "is not a port"),
        (["--keys", "/no/such/file"], "--keys /no/such/file cannot be read"),
        (["--guardrails", "/no/such/file"], "--guardrails /no/such/file cannot be read"),
    ],
)
def test_what_is_wrong_with_an_option_is_said_in_one_sentence(options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "emulators.bedrock", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_a_port_in_use_is_said_in_one_sentence(bedrock: Served) -> None:
    command = [sys.executable, "-m", "emulators.bedrock", "--port", bedrock.url.rpartition(":")[2]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 2
    assert "name another" in done.stderr.splitlines()[-1]


def test_keys_of_a_file_are_let_in_and_survive_a_reset(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = {"access_key_id": "AKIAGIVEN", "secret_access_key": "its-secret"}
    file.write_text(json.dumps({"bearers": [{"key": "given"}], "access_keys": [key]}))

    with served("--keys", str(file)) as bedrock:
        bedrock.command("forget", key="AKIAGIVEN")
        bedrock.command("reset")
        client = bedrock.client(aws_access_key_id="AKIAGIVEN", aws_secret_access_key="its-secret")
        assert client.converse(modelId=HAIKU, messages=[user("hello")])["stopReason"] == "end_turn"
