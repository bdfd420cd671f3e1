"""The published document is valid, and what it says is what the running system does."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from openapi_spec_validator import validate

from chalicelib.http import openapi
from tests.e2e.admin import new_tenant
from tests.local_system import RunningSystem, local_system
from tests.patience import PATIENCE_S

OPERATIONS = (
    *("chat", "chat/completions", "completions", "embeddings", "messages", "messages/count_tokens", "responses"),
)
RUNTIME = ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
CONFIG = Path(__file__).parent / "schemathesis.toml"


def test_the_document_is_valid_openapi() -> None:
    from app import app  # fills the route table

    assert app.routes
    validate(msgspec.json.decode(msgspec.json.encode(openapi.document())))


def test_every_route_that_runs_a_model_names_the_header_against_a_second_charge() -> None:
    from app import app

    assert app.routes
    named = {
        path
        for path, operations in openapi.document()["paths"].items()
        for operation in operations.values()
        if any(each["name"] == "Idempotency-Key" for each in operation["parameters"])
    }
    inference = (f"/tenants/{{tenant}}/v1/{name}" for name in OPERATIONS)
    runtime = (f"{base}/v1/bedrock/model/{{model}}/{way}" for base in ("", "/tenants/{tenant}") for way in RUNTIME)
    assert named == {"/inference", "/v1/bedrock/invoke-model", *runtime, *inference}


@pytest.fixture(scope="module")
def fuzzed_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system of its own: what is fuzzed makes tenants and pools."""
    with local_system(tmp_path_factory.mktemp("fuzzed")) as system:
        yield system


@pytest.mark.parametrize(
    "surface", ["^/(tenants|inference|health|openapi|problems)", "^/admin"], ids=["tenant", "admin"]
)
def test_nothing_that_fits_or_breaks_the_schema_breaks_the_system(fuzzed_system: RunningSystem, surface: str) -> None:
    if surface == "^/admin":
        key = fuzzed_system.admin_key
    else:
        no_limits = {"rates": [], "budgets": [], "in_flight": 100}
        key = new_tenant(fuzzed_system, "fuzzed", limits=no_limits)
    schemathesis = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            *(str(schemathesis), "--config-file", str(CONFIG), "run", f"{fuzzed_system.base_url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}", "--include-path-regex", surface),
            *("--phases", "coverage,fuzzing", "--max-examples", "8", "--generation-deterministic"),
            *("--request-timeout", str(PATIENCE_S), "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
