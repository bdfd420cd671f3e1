"""The published document is valid and complete, and what it says is what the running system does."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from app import app  # fills the route table
from chalicelib.http import openapi
from chalicelib.http.openapi.operations import examples
from chalicelib.http.route import FRAMED_TYPE, SEALED_TYPE, Route
from chalicelib.http.route_table import ROUTES
from chalicelib.http.unknown_members import unknown_members
from tests.e2e.admin import new_tenant
from tests.local_system import RunningSystem, local_system
from tests.patience import PATIENCE_S

OPERATIONS = (
    *("chat", "chat/completions", "completions", "embeddings", "messages", "messages/count_tokens", "responses"),
)
RUNTIME = ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
CONFIG = Path(__file__).parent / "schemathesis.toml"

assert app.routes
DOCUMENT: Any = json.loads(msgspec.json.encode(openapi.document()))
SCHEMAS: Mapping[str, Any] = DOCUMENT["components"]["schemas"]


def described(route: Route) -> Any:
    """The operation."""
    return DOCUMENT["paths"][route.path][route.method.lower()]


def named(place: str) -> Any:
    """The operation that serves `METHOD path`."""
    method, path = place.split(" ")
    return DOCUMENT["paths"][path][method.lower()]


def answers(operation: Any, status: str = "200") -> Any:
    """Its answer's content types."""
    return operation["responses"][status]["content"]


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_that_runs_a_model_names_the_header_against_a_second_charge() -> None:
    named = {
        path
        for path, operations in DOCUMENT["paths"].items()
        for operation in operations.values()
        if any(each["name"] == "Idempotency-Key" for each in operation["parameters"])
    }
    inference = (f"/tenants/{{tenant}}/v1/{name}" for name in OPERATIONS)
    runtime = (f"{base}/v1/bedrock/model/{{model}}/{way}" for base in ("", "/tenants/{tenant}") for way in RUNTIME)
    assert named == {"/inference", "/v1/bedrock/invoke-model", *runtime, *inference}


def test_schemas_have_one_plain_name_each_and_say_what_they_are() -> None:
    assert all(re.fullmatch("[A-Z][A-Za-z]+", name) and each["title"] == name for name, each in SCHEMAS.items())
    assert [name for name, each in SCHEMAS.items() if not each.get("description")] == []


@pytest.mark.parametrize("kind", ["schemas", "responses", "headers"])
def test_nothing_is_described_that_nobody_refers_to(kind: str) -> None:
    references = set(re.findall(rf'"#/components/{kind}/([^"]+)"', json.dumps(DOCUMENT)))
    assert references == set(DOCUMENT["components"][kind])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_operation_says_what_it_is_for(route: Route) -> None:
    operation = described(route)
    assert operation["tags"] == [route.title]
    assert operation["description"].endswith((".", "`"))
    assert all(each["description"] for each in operation["parameters"] if each["in"] != "query")


def test_every_tag_is_described_once() -> None:
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert len(tags) == len(set(tags))
    assert set(tags) == {route.title for route in ROUTES}
    assert all(tag["description"] for tag in DOCUMENT["tags"])


@pytest.mark.parametrize("route", [each for each in ROUTES if each.accepts is not None], ids=lambda route: route.name)
def test_every_body_has_an_example_that_its_route_takes(route: Route) -> None:
    request = examples()[route.name]["request"]
    msgspec.json.decode(msgspec.json.encode(request), type=route.accepts)
    assert not (route.closed and list(unknown_members(request, route.accepts)))


@pytest.mark.parametrize("name", [name for name, each in examples().items() if "answer" in each])
def test_an_example_of_an_answer_is_one_of_its_type(name: str) -> None:
    [route] = [route for route in ROUTES if route.name == name]
    msgspec.json.decode(msgspec.json.encode(examples()[name]["answer"]), type=route.returns)


def test_no_example_is_of_nothing() -> None:
    assert set(examples()) <= {route.name for route in ROUTES}


def test_the_server_is_where_the_document_comes_from() -> None:
    assert openapi.document()["servers"][0]["url"] == "/"
    assert openapi.document("/api")["servers"][0]["url"] == "/api"


@pytest.mark.parametrize("route", [each for each in ROUTES if "+}" in each.resource], ids=lambda route: route.name)
def test_a_parameter_that_may_hold_slashes_says_so(route: Route) -> None:
    assert "slashes" in described(route)["parameters"][route.path.count("{") - 1]["description"]


def test_streams_are_told_in_the_framing_that_they_have() -> None:
    events = named("POST /tenants/{tenant}/v1/chat/completions")
    frames = named("POST /v1/bedrock/model/{model}/converse-stream")
    assert {"application/json", "text/event-stream", SEALED_TYPE} == set(answers(events))
    assert {FRAMED_TYPE} == set(answers(frames))


def test_a_sealed_body_is_another_type_of_the_same_route_with_headers_of_its_own() -> None:
    chat, message = (named(f"POST /tenants/{{tenant}}/v1/{name}") for name in ("chat/completions", "messages"))
    headers = {each["name"] for each in chat["parameters"]}
    assert SEALED_TYPE in chat["requestBody"]["content"]
    assert {"X-Seal-Mode", "X-Model-Pool", "X-KMS-Key-ID"} <= headers
    assert SEALED_TYPE not in message["requestBody"]["content"]


def test_a_route_of_two_shapes_tells_both_and_the_header_that_chooses() -> None:
    models = named("GET /tenants/{tenant}/v1/models")
    forms = [each["$ref"].rsplit("/", 1)[1] for each in answers(models)["application/json"]["schema"]["anyOf"]]
    assert forms == ["Models", "ModelPage"]
    assert "anthropic-version" in {each["name"] for each in models["parameters"]}
    assert models["responses"]["404"]["$ref"].endswith("/OpenAIOrAnthropic404")


def test_only_who_runs_a_model_passes_on_what_is_not_listed() -> None:
    assert SCHEMAS["ChatCompletionRequest"]["additionalProperties"] is True
    assert SCHEMAS["TenantRequest"]["additionalProperties"] is False


CLOSING = "(sources|data)"
"""Below a tenant: what may leave nobody let in."""


@pytest.fixture(scope="module")
def fuzzed_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system of its own: what is fuzzed makes tenants and pools."""
    with local_system(tmp_path_factory.mktemp("fuzzed")) as system:
        yield system


@pytest.mark.parametrize(
    "surfaces",
    [
        # What takes a signature alone is not for who has a key. What may shut a tenant's door comes last.
        [
            rf"^/(tenants(?!/{{tenant}}/{CLOSING})|inference|health|openapi|problems|docs|$)",
            rf"^/tenants/{{tenant}}/{CLOSING}",
        ],
        ["^/admin(?!.*/break-glass)"],
    ],
    ids=["tenant", "admin"],
)
def test_nothing_that_fits_or_breaks_the_schema_breaks_the_system(
    fuzzed_system: RunningSystem, surfaces: list[str]
) -> None:
    if surfaces[0].startswith("^/admin"):
        key = fuzzed_system.admin_key
    else:
        no_limits = {"rates": [], "budgets": [], "in_flight": 100}
        key = new_tenant(fuzzed_system, "fuzzed", limits=no_limits)
    for surface in surfaces:
        _must_bear(surface, key, fuzzed_system)


def _must_bear(surface: str, key: str, system: RunningSystem) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            *(str(schemathesis), "--config-file", str(CONFIG), "run", f"{system.base_url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}", "--include-path-regex", surface),
            *("--phases", "coverage,fuzzing", "--max-examples", "8", "--generation-deterministic"),
            *("--request-timeout", str(PATIENCE_S), "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
