"""Docs cannot lie: what they list is what the code has, and what they show runs."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app import app
from chalicelib.api import pages
from chalicelib.dialects.anthropic import members as anthropic
from chalicelib.dialects.converse import members
from chalicelib.http import openapi, problems
from chalicelib.refusal import (
    Crowded,
    MethodNotAllowed,
    NotOpened,
    OverBudget,
    QuotaExhausted,
    RateLimited,
    Refusal,
    TooLarge,
    Unauthenticated,
)
from chalicelib.settings import Settings
from sealed.measurements import read_manifest
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_every_route_is_documented_and_every_documented_route_exists() -> None:
    served = {f"{method} {path}" for path, methods in app.routes.items() for method in methods}
    served = {route for route in served if not route.startswith(("HEAD ", "OPTIONS "))}  # theirs go with the others
    described = {f"{method.upper()} {path}" for path, item in openapi.document()["paths"].items() for method in item}
    documented = set(re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", API, re.MULTILINE))
    # What API Gateway writes {name+} is a parameter like others, which may hold slashes.
    assert {route.replace("+}", "}") for route in served} == described == documented


def example(refusal: type[Refusal]) -> Refusal:
    """One whose text does not matter."""
    if refusal is MethodNotAllowed:
        return MethodNotAllowed("", ())
    return refusal() if refusal in (Unauthenticated, NotOpened) else refusal("")


def test_every_problem_is_documented_by_its_name_with_its_statuses() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\d+) \| (\d+) `(\w+)` \| (\d+) `(\w+)` \| (\d+) `(\w+)` \|", API, re.MULTILINE
    )
    fault = problems.FAULT
    assert set(rows) == {
        (
            kind.name,
            str(kind.status),
            *(str(kind.openai_status or kind.status), kind.openai_code),
            *(str(kind.anthropic_status or kind.status), kind.anthropic_type),
            *(str(problems.status_of(example(refusal), "bedrock")), problems.EXCEPTIONS[refusal]),
        )
        for refusal, kind in problems.KINDS.items()
    } | {(fault.name, "500", "500", fault.openai_code, "500", fault.anthropic_type, "500", problems.FAULT_EXCEPTION)}


def test_what_to_do_about_a_problem_is_documented_as_its_page_says_it() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| \d+ \| .* \| (.*) \|$", API, re.MULTILINE)
    assert {name: f"{move[0].upper()}{move[1:]}." for name, move in rows} == pages.NEXT_MOVES


def test_limits_are_documented_by_the_names_of_what_they_answer() -> None:
    page = (ROOT / "docs" / "admission.md").read_text()
    said = re.findall(r"^\| .* \| .* \| `([a-z-]+)` \| .* \|$", page, re.MULTILINE)
    limits = (RateLimited, QuotaExhausted, OverBudget, Crowded, TooLarge)
    assert set(said) == {problems.KINDS[refusal].name for refusal in limits}


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"`(CLOISTER_\w+)` \| `?([\w-]+)`? \|", API))
    fields = msgspec.structs.fields(Settings)
    assert rows == {f"CLOISTER_{field.name.upper()}": str(field.default) or "empty" for field in fields}


def documented_members(page: str, fates: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether the page has a row for each, and no other."""
    rows = re.findall(rf"^\| `([\w-]+)` \| ({'|'.join(fates)}) \| (.*) \|$", page, re.MULTILINE)
    return rows == [(name, fate, what) for fate, named in fates.items() for name, what in named.items()]


def test_every_member_that_only_anthropics_service_knows_is_documented_with_what_becomes_of_it() -> None:
    [table] = re.findall(r"^\| Anthropic's member \|.*?\n\n", API, re.MULTILINE | re.DOTALL)
    fates = {"left out": anthropic.LEFT_OUT, "Claude's": anthropic.CLAUDES, "refused": anthropic.REFUSED}
    assert documented_members(table, fates)


def test_every_member_of_a_chat_is_documented_with_what_becomes_of_it_at_bedrock() -> None:
    [table] = re.findall(r"^\| member \|.*?\n\n", API, re.MULTILINE | re.DOTALL)
    fates = {
        "translated": members.TRANSLATED,
        "the gateway's": members.BOUNDED,
        "left out": members.LEFT_OUT,
        "refused": members.REFUSED,
    }
    assert documented_members(table, fates)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


EXAMPLES = [
    example
    for page in ((ROOT / "README.md").read_text(), API)
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
]
INSTALLED = str(ROOT / "client")  # as by `pip install ./client`


@pytest.mark.parametrize("example", EXAMPLES, ids=["clear", "sealed", "boto3", "bedrock"])
def test_the_examples_run(running_system: RunningSystem, example: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, **running_system.env, "PYTHONPATH": INSTALLED},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Cloister" in done.stdout


def test_the_release_manifest_is_signed_as_the_enclaves_page_says(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "release.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "out").mkdir()
    pcrs = {number: f"{number}a" * 48 for number in range(3)}
    measurements = {"Measurements": {f"PCR{number}": value for number, value in pcrs.items()}}
    (tmp_path / "out" / "measurements.json").write_text(json.dumps(measurements))
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "enclave.md").read_text(), re.DOTALL)
    printed = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    ).stdout
    manifest = (tmp_path / "manifest.json").read_bytes()
    assert read_manifest(manifest, base64.b64decode(printed), time.time_ns() // 1_000_000).allowed == (pcrs,)
