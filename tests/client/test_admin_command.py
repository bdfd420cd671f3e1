"""`cloister admin`, against a real gateway: with the operator's key and signed, from nothing to a tenant's requests."""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from chalicelib import schedules, wiring
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.tenant import Tenant, VelocityRule
from chalicelib.velocity.reviews import Evidence
from chalicelib.velocity.whose import operators
from cloister.cli.__main__ import main
from cloister.cli.admin import coming
from cloister.cli.operator_gateway import Operator, OperatorSettings, Signature
from cloister.refusal import NotConfigured
from tests.api import signing
from tests.engines.servers import Handler, Request, Wire, serving, whole
from tests.small_deployments import Deployment, Gateway, front, served

pytestmark = pytest.mark.usefixtures("no_authorities")

POOL = {"name": "meta-llama/Small:8b", "targets": [{"name": "s", "engine": "scripted", "url": "s"}]}
LIMITS = {
    "rates": [{"name": "second", "unit": "requests", "count": 5, "period_ms": 1_000, "burst": 50}],
    "budgets": [],
    "in_flight": 3,
}

Cloister = Callable[..., tuple[int, str, str]]
"""Runs `cloister admin …`: status, output, errors."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with served(front(signing.IAM), kept=True) as gateway:
        yield gateway


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    deployment = Deployment()
    deployment.clock.now_ms = time.time_ns() // 1_000_000  # the command looks at its own
    deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
    with wiring.opening_into(deployment.rooms()):
        yield deployment


@pytest.fixture(params=["with the key", "signed"])
def cloister(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cloister:
    monkeypatch.setenv("CLOISTER_BASE_URL", gateway.base_url)
    if request.param == "signed":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", signing.KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", signing.SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", signing.REGION)
    else:
        monkeypatch.setenv("CLOISTER_ADMIN_KEY", deployment.key(PLATFORM_TENANT))

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(("admin", *arguments))
        out, err = capsys.readouterr()
        # The gateway's log is in this process, too.
        told = "".join(line for line in out.splitlines(keepends=True) if not line.startswith('{"_aws"'))
        return status, told, err

    return run


def written(folder: Path, document: object) -> str:
    file = folder / "document.json"
    file.write_text(json.dumps(document))
    return str(file)


def told(answer: tuple[int, str, str]) -> Any:
    """What a command with --json printed."""
    assert (answer[0], answer[2]) == (0, "")
    return json.loads(answer[1])


class Asking:
    """Somebody with a tenant's key, each of whose requests is a millisecond later."""

    def __init__(self, gateway: Gateway, deployment: Deployment, tenant: str, pool: str) -> None:
        self._gateway = gateway
        self._clock = deployment.clock
        self._path = f"/tenants/{tenant}/v1/chat/completions"
        self._body = {"model": pool, "messages": [{"role": "user", "content": "hi"}]}

    def __call__(self, key: str, request_id: str) -> int:
        """The status."""
        self._clock.now_ms += 1
        headers = {"X-Request-ID": request_id}
        return self._gateway.call("POST", self._path, key=key, json=self._body, headers=headers).status


def test_from_nothing_to_a_tenants_last_requests(
    cloister: Cloister, gateway: Gateway, deployment: Deployment, tmp_path: Path
) -> None:
    ask = Asking(gateway, deployment, "cora", str(POOL["name"]))
    assert told(cloister("pools", "put", written(tmp_path, POOL), "--json"))["name"] == POOL["name"]
    assert "meta-llama/Small:8b  chat.completions, completions  s (scripted)" in cloister("pools", "list")[1]
    made = told(cloister("tenants", "create", "cora", "--name", "Cora", "--pool", str(POOL["name"]), "--json"))
    assert (made["name"], made["pools"]) == ("Cora", [POOL["name"]])
    status, key, _ = cloister("keys", "create", "cora", "--role", "developer", "--label", "ci", "--days", "30")
    assert status == 0
    assert ask(key.strip(), "first") == 200
    assert ask(key.strip(), "second") == 200

    _, output, _ = cloister("requests", "cora")
    first, second = output.splitlines()
    assert (first.rpartition("  ")[2], second.rpartition("  ")[2]) == ("first", "second")
    assert "meta-llama/Small:8b on s" in first
    assert "completed" in first
    assert [line.rpartition("  ")[2] for line in cloister("requests", "cora", "--last", "1")[1].splitlines()] == [
        "second"
    ]
    assert json.loads(cloister("requests", "cora", "--json", "--last", "1")[1])["request_id"] == "second"

    (listed,) = told(cloister("keys", "list", "cora", "--json"))
    assert (listed["role"], listed["label"]) == ("developer", "ci")
    assert cloister("keys", "list", "cora")[1].splitlines()[1].startswith(f"{listed['id']}  developer  active")
    assert cloister("keys", "revoke", "cora", listed["id"])[1] == f"{listed['id']} is revoked.\n"
    assert ask(key.strip(), "third") == 401
    last = told(cloister("keys", "create", "cora", "--json"))["key"]["id"]
    assert "can make a new one." in cloister("keys", "revoke", "cora", last)[1]


def test_a_key_is_narrowed_to_routes_and_by_rules_of_its_own(cloister: Cloister, tmp_path: Path) -> None:
    cloister("tenants", "create", "cora")
    rules = tmp_path / "rules.json"
    rules.write_text('{"packs": ["mail"], "max_prompt_bytes": 99}')
    asked = ("keys", "create", "cora", "--route", "GET /tenants/{tenant}/*", "--guardrails", str(rules), "--json")
    key = told(cloister(*asked))["key"]
    assert key["scopes"]["routes"] == ["GET /tenants/{tenant}/*"]
    assert (key["guardrails"]["packs"], key["guardrails"]["max_prompt_bytes"]) == (["mail"], 99)


def test_limits_are_replaced_and_shown_with_what_is_left(cloister: Cloister, tmp_path: Path) -> None:
    cloister("tenants", "create", "cora")
    assert told(cloister("limits", "set", "cora", written(tmp_path, LIMITS), "--json")) == LIMITS | {"budgets": []}
    head, *lines = cloister("limits", "show", "cora")[1].splitlines()
    assert head.split() == ["LIMIT", "UNIT", "QUOTA", "LEFT", "WHOLE", "AGAIN", "IN"]
    assert [line.split()[:4] for line in lines] == [
        ["in_flight", "requests", "3", "3"],
        ["second", "requests", "50", "50"],
    ]


def test_a_tenant_is_suspended_changed_and_let_in_again(cloister: Cloister, monkeypatch: pytest.MonkeyPatch) -> None:
    cloister("tenants", "create", "cora")
    assert told(cloister("tenants", "suspend", "cora", "--json"))["status"] == "suspended"
    assert [line.split() for line in cloister("tenants", "list")[1].splitlines()] == [
        ["TENANT", "NAME", "STATUS", "POOLS"],
        ["cora", "cora", "suspended"],
        [PLATFORM_TENANT, "The", "operator", "active"],
    ]
    assert told(cloister("tenants", "resume", "cora", "--json"))["status"] == "active"
    monkeypatch.setattr("sys.stdin", io.StringIO('{"priority": 2}'))
    assert told(cloister("tenants", "change", "cora", "-", "--json"))["priority"] == 2
    assert told(cloister("tenants", "show", "cora", "--json"))["priority"] == 2


def test_a_pool_is_removed(cloister: Cloister, tmp_path: Path) -> None:
    cloister("pools", "put", written(tmp_path, POOL))
    assert cloister("pools", "delete", str(POOL["name"])) == (0, "Done.\n", "")
    assert told(cloister("pools", "list", "--json")) == []


def test_health_is_shown_though_nothing_is_healthy(cloister: Cloister) -> None:
    schedules.ask_targets()
    status, output, _ = cloister("health")
    assert status == 0
    assert json.loads(output)["status"] == "unhealthy"


def test_a_request_that_ends_while_one_looks_is_shown_once(gateway: Gateway, deployment: Deployment) -> None:
    deployment.pool()
    deployment.tenant()
    key = deployment.key()
    operator = Operator(OperatorSettings(gateway.base_url, deployment.key(PLATFORM_TENANT)))
    waits = iter([(), ("one", "two"), (), ("three",)])

    ask = Asking(gateway, deployment, "acme", "model-a")

    def wait() -> None:
        for request_id in next(waits):
            ask(key, request_id)

    ask(key, "before")
    seen = islice(coming(operator, "acme", wait), 3)
    assert [entry["request_id"] for entry in seen] == ["one", "two", "three"]


REFUSED = {
    "an unknown tenant": (("tenants", "show", "nobody"), "The gateway answered 404: "),
    "a pool without a name": (("pools", "put", "FILE:{}"), "describes no pool"),
    "no JSON": (("pools", "put", "FILE:nothing"), "is no JSON"),
    "no file": (("pools", "put", "/nowhere/pool.json"), "cannot be read"),
    "what the gateway refuses": (("keys", "create", "nobody", "--role", "king"), "The gateway answered 40"),
    "too many": (("requests", "cora", "--last", "101"), "--last takes 1 to 100."),
    "an address of a tenant": (("health", "--base-url", "https://example.org/tenants/x"), "without /tenants"),
}


@pytest.mark.parametrize(("arguments", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_said_in_one_sentence(
    cloister: Cloister, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    file = tmp_path / "file.json"
    given = []
    for each in arguments:
        if each.startswith("FILE:"):
            file.write_text(each.removeprefix("FILE:"))
        given.append(str(file) if each.startswith("FILE:") else each)
    status, output, errors = cloister(*given)
    assert (status, output) == (2, "")
    assert errors.startswith("cloister: ")
    assert why in errors
    assert errors.count("\n") == 1


def test_without_an_address_or_a_credential_it_says_what_to_set(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CLOISTER_BASE_URL", "CLOISTER_STAGE", "CLOISTER_ADMIN_KEY", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert main(["admin", "health"]) == 2
    assert "--base-url or CLOISTER_BASE_URL" in capsys.readouterr().err
    assert main(["admin", "health", "--base-url", gateway.base_url]) == 2
    assert "--admin-key or CLOISTER_ADMIN_KEY" in capsys.readouterr().err


def test_the_region_of_a_signature_is_the_one_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", signing.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", signing.SECRET)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    request = httpx.Request("GET", "https://abc123.execute-api.us-gov-west-1.amazonaws.com/api/admin/tenants")
    signed = next(Signature.of("https://abc123.execute-api.us-gov-west-1.amazonaws.com/api").auth_flow(request))
    assert "/us-gov-west-1/execute-api/aws4_request" in signed.headers["authorization"]
    with pytest.raises(NotConfigured, match="AWS_REGION"):
        Signature.of("https://cloister.example.org")


STACKS = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


def cloud_formation(stacks: Mapping[str, Mapping[str, str]]) -> Handler:
    """Answers DescribeStacks for stacks with these outputs, as its API reference has it."""

    def handler(request: Request, wire: Wire) -> None:
        asked = dict(parse_qsl(request.body.decode()))
        assert asked["Action"] == "DescribeStacks"
        name = asked["StackName"]
        if name not in stacks:
            message = f"<Code>ValidationError</Code><Message>Stack with id {name} does not exist</Message>"
            error = f'<ErrorResponse xmlns="{STACKS}"><Error><Type>Sender</Type>{message}</Error></ErrorResponse>'
            wire.send(whole(error.encode(), 400, content_type="text/xml"))
            return
        outputs = "".join(
            f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
            for key, value in stacks[name].items()
        )
        told = f"<Outputs>{outputs}</Outputs>" if outputs else ""
        stack = f"<member><StackName>{name}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>{told}</member>"
        result = f"<DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult>"
        answer = f'<DescribeStacksResponse xmlns="{STACKS}">{result}</DescribeStacksResponse>'
        wire.send(whole(answer.encode(), content_type="text/xml"))

    return handler


def test_a_stage_is_found_by_its_stack(
    gateway: Gateway, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = deployment.key(PLATFORM_TENANT)
    outputs = {"Table": "cloister-dev", "EndpointURL": f"{gateway.base_url}/"}
    with serving(cloud_formation({"cloister-dev": outputs, "cloister-other": {}})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", server.root)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.delenv("CLOISTER_BASE_URL", raising=False)
        assert main(["admin", "tenants", "list", "--stage", "dev", "--admin-key", key]) == 0
        assert PLATFORM_TENANT in capsys.readouterr().out
        assert main(["admin", "health", "--stage", "other"]) == 2
        assert "no output EndpointURL" in capsys.readouterr().err
        assert main(["admin", "health", "--stage", "nope"]) == 2
        assert "Stack with id cloister-nope does not exist" in capsys.readouterr().err


def test_a_review_is_listed_and_its_tenant_taken_down(deployment: Deployment, cloister: Cloister) -> None:
    deployment.tenant("acme", pools=())
    evidence = Evidence("acme", "key:abc", "192.0.2.1")
    reviews = wiring.path().velocity.reviews
    reviews.tell(operators("acme"), VelocityRule("keys", 5), evidence, deployment.clock())
    status, shown, _ = cloister("reviews", "list")
    assert status == 0
    assert all(said in shown for said in ("acme", "keys-60", "open", "key:abc", "192.0.2.1"))
    status, taken, _ = cloister("reviews", "take", "take_down", "acme", "keys-60", "sold on")
    assert (status, json.loads(taken)["steps"][0]["reason"]) == (0, "sold on")
    assert deployment.tenancy.tenant("acme").status == "taken_down"
