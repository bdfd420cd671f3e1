"""client/README.md runs as it stands, and its tables are complete."""

import re
from pathlib import Path
from typing import get_args

import pytest

import cloister
from cloister.cli.__main__ import main
from cloister.lint import RuleName
from tests.client.callers import Place
from tests.client.gateways import API_KEY, PCR0, TENANT

README = (Path(__file__).parents[2] / "client" / "README.md").read_text()


def test_the_snippet_runs(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(place.gateway.authority.root_pem())
    for name, value in {
        "CLOISTER_BASE_URL": place.url,
        "CLOISTER_TENANT": TENANT,
        "CLOISTER_API_KEY": API_KEY,
        "CLOISTER_PCR0": PCR0,
        "CLOISTER_ATTESTATION_ROOT": str(root),
    }.items():
        monkeypatch.setenv(name, value)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(snippet, {})
    assert capsys.readouterr().out.rstrip() == "You said: What is Cloister?"
    assert len(place.gateway.sealed) == 1


@pytest.mark.parametrize("rule", get_args(RuleName))
def test_every_rule_of_the_doctor_is_listed(rule: str) -> None:
    assert f"`{rule}`" in README


def test_every_error_is_listed() -> None:
    errors = {name for name in cloister.__all__ if isinstance(getattr(cloister, name), type(Exception))}
    refusals = {name for name in errors if issubclass(getattr(cloister, name), cloister.SealError)}
    assert {name for name in refusals if f"`{name}`" not in README and f"`cloister.{name}`" not in README} == set()


@pytest.mark.parametrize("command", re.findall(r"^cloister ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE))
def test_every_command_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*command.split(), "--help"])
    assert raised.value.code == 0
    assert "usage: cloister" in capsys.readouterr().out
