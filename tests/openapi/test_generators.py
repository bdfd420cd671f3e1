"""What others make of the document as a gateway serves it: Redocly's linter, and generators of clients."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.wiring import opening_into
from tests import npm
from tests.patience import PATIENCE_S
from tests.small_deployments import Deployment, Gateway, front, served

NODE = Path(__file__).parent / "node"
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}

SETTINGS = """\
post_hooks: []
content_type_overrides:
  application/vnd.amazon.eventstream: application/octet-stream
"""
"""Of openapi-python-client: nothing of ours to format what it wrote, and frames are bytes."""

CHATS = """
import sys

from cloister_client import AuthenticatedClient
from cloister_client.api.open_ai import create_chat_completion
from cloister_client.models import ChatCompletionRequest, ChatMessage, OpenAIError

address, key, model = sys.argv[1:]
client = AuthenticatedClient(address, key)
for asked in (model, "no-such-model"):
    request = ChatCompletionRequest(asked, [ChatMessage("user", "hi")])
    answer = create_chat_completion.sync("acme", client=client, body=request)
    print(answer.error.code if isinstance(answer, OpenAIError) else answer.choices[0].message.content)
"""


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.pool()
    deployment.tenant()
    return deployment


@pytest.fixture(scope="module")
def gateway(deployment: Deployment) -> Iterator[Gateway]:
    with served(front()) as gateway, opening_into(deployment.rooms()):
        yield gateway


@pytest.fixture(scope="module")
def document(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document, in a folder in which the packages of npm are found."""
    folder = tmp_path_factory.mktemp("read")
    (folder / "openapi.json").write_bytes(gateway.call("GET", "/openapi.json").body)
    (folder / "node_modules").symlink_to(npm.installed(NODE) / "node_modules")
    return folder / "openapi.json"


def node(document: Path, program: str, *arguments: str) -> str:
    """What the program says; it must succeed."""
    done = subprocess.run(
        ["node", document.parent / "node_modules" / program, *arguments],
        cwd=document.parent,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def test_redoclys_linter_finds_nothing_to_mend(document: Path) -> None:
    said = node(document, "@redocly/cli/bin/cli.js", "lint", "--format=json", "openapi.json")
    found = [(problem["ruleId"], problem["location"][0]["pointer"]) for problem in json.loads(said)["problems"]]
    assert found == [("operation-2xx-response", "#/paths/~1signin~1{tenant}/get/responses")]  # it leads elsewhere


def test_a_program_in_typescript_reads_its_types(document: Path) -> None:
    (document.parent / "use.ts").write_bytes((NODE / "use.ts").read_bytes())
    types = ("--output", "cloister.d.ts", "--default-non-nullable", "false")
    node(document, "openapi-typescript/bin/cli.js", "openapi.json", *types)
    node(document, "typescript/bin/tsc", "--noEmit", "--strict", "use.ts")


def test_a_client_that_was_generated_in_python_chats(
    document: Path, gateway: Gateway, deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    generating = (
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document), "--meta", "none"),
        *("--config", "settings.yaml", "--output-path", "cloister_client", "--fail-on-warning"),
    )
    made = subprocess.run(generating, cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert made.returncode == 0, made.stdout[-4_000:] + made.stderr[-4_000:]
    talk = [sys.executable, "-c", CHATS, gateway.base_url, deployment.key(), "model-a"]
    said = subprocess.run(talk, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert said.stdout.splitlines() == ["from a", "not_found"], said.stderr[-4_000:]
