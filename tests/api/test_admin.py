"""What the operator does: tenants, pools, and a tenant's first keys."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.admission.limits import DEFAULT_LIMITS
from chalicelib.call import Call
from chalicelib.engines.scripted import ScriptedEngine, Step, whole
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed
from chalicelib.tenancy import PLATFORM_TENANT
from tests.small_deployments import Answer, Deployment, Gateway, Script


class Operator:
    """Somebody with the platform's owner key."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self._key = deployment.key(PLATFORM_TENANT)

    def __call__(self, method: str, path: str, body: object = None) -> Answer:
        return self.gateway.call(method, f"/admin{path}", key=self._key, json=body)

    def change(self, **members: object) -> None:
        assert self("PATCH", "/tenants/acme", members).status == 200

    def infer(self, key: str, model: str = "model-a") -> Answer:
        return self.gateway.call("POST", "/inference", key=key, json={"model": model, "prompt": "hi", "max_tokens": 8})


@pytest.fixture
def operator(gateway: Gateway, deployment: Deployment) -> Operator:
    return Operator(gateway, deployment)


def test_a_tenant_from_nothing_to_its_first_answer(operator: Operator) -> None:
    assert operator("PUT", "/pools/small", {"name": "small", "targets": [_target("s")]}).status == 200
    made = operator("POST", "/tenants", {"id": "cora", "name": "Cora", "pools": ["small"]})
    assert made.status == 201
    assert made.json == operator("GET", "/tenants/cora").json
    assert made.json["limits"] == json.loads(msgspec.json.encode(DEFAULT_LIMITS))
    assert made.json["created_ms"] == operator.deployment.clock()
    key = operator("POST", "/tenants/cora/keys", {"role": "owner"}).json
    answer = operator.infer(key["api_key"], "small")
    assert (answer.status, answer.headers["x-instance-id"]) == (200, "s")
    assert [each["id"] for each in operator("GET", "/tenants/cora/keys").json["keys"]] == [key["key"]["id"]]
    assert operator("DELETE", f"/tenants/cora/keys/{key['key']['id']}").status == 200
    assert operator.infer(key["api_key"], "small").status == 401


def test_a_tenant_is_created_once(operator: Operator) -> None:
    answer = operator("POST", "/tenants", {"id": "acme", "name": "Another"})
    assert (answer.status, answer.json["type"]) == (409, "/problems/conflict")
    assert operator("GET", "/tenants/acme").json["name"] == "Acme"


def test_every_change_counts_on_the_next_request(operator: Operator) -> None:
    key = operator.deployment.key("acme")

    def target() -> str:
        return operator.infer(key).headers.get("x-instance-id", "")

    assert target() == "a"
    operator.change(pins={"model-a": "b"})
    assert target() == "b"
    operator.change(pins={})
    assert target() == "a"
    operator("PUT", "/pools/model-a", {"name": "model-a", "targets": [_target("c")]})
    assert target() == "c"
    operator.change(status="suspended")
    assert operator.infer(key).status == 403
    operator.change(status="active", limits=_limits(budget=1))
    assert operator.infer(key).status == 200
    denied = operator.infer(key)
    assert (denied.status, denied.json["limit"]) == (429, "calls")
    operator.change(limits=_limits(budget=2))
    assert operator.infer(key).status == 200
    operator("DELETE", "/pools/model-a")
    assert operator.infer(key).status == 404


def test_a_limit_that_is_raised_counts_at_once_after_a_rate_has_denied(operator: Operator) -> None:
    """This gateway remembers the denial; the change makes it forget."""
    slow = {"name": "slow", "unit": "requests", "count": 1, "period_ms": 60_000, "burst": 2}
    operator.change(limits={**_limits(budget=100), "rates": [slow]})
    key = operator.deployment.key("acme")
    assert [operator.infer(key).status for _ in range(3)] == [200, 429, 429]
    operator.change(limits={**_limits(budget=100), "rates": [{**slow, "burst": 3}]})
    assert operator.infer(key).status == 200


WRONG_TENANTS: dict[str, Mapping[str, Any]] = {
    "no id": {"name": "X"},
    "capitals": {"id": "Cora"},
    "a newline at the end": {"id": "cora\n"},
    "the platform's own documents": {"id": "~platform"},
    "a hash": {"id": "a#b"},
    "too long": {"id": "a" * 41},
    "a priority out of bounds": {"id": "cora", "priority": 10},
    "limits that cannot be kept": {"id": "cora", "limits": {"rates": [], "budgets": [], "in_flight": 0}},
    "something unknown": {"id": "cora", "admin": True},
    "a birthday of its own": {"id": "cora", "created_ms": 1},
}


@pytest.mark.parametrize("body", WRONG_TENANTS.values(), ids=WRONG_TENANTS)
def test_a_tenant_that_makes_no_sense_is_not_made(operator: Operator, body: Mapping[str, Any]) -> None:
    before = operator("GET", "/tenants").json
    answer = operator("POST", "/tenants", {"name": "X", **body} if body != {"name": "X"} else body)
    assert (answer.status, answer.json["type"]) == (400, "/problems/invalid-request")
    assert operator("GET", "/tenants").json == before


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 10},
        {"priority": -1},
        {"status": "deleted"},
        {"id": "other"},
        {"pools": ["bad name"]},
        {"name": "x" * 101},
        {"limits": {"rates": [], "budgets": [], "in_flight": 0}},
        {"pins": {"model-a": 1}},
    ],
)
def test_a_change_that_makes_no_sense_leaves_the_tenant_as_it_was(
    operator: Operator, change: Mapping[str, Any]
) -> None:
    before = operator("GET", "/tenants/acme").json
    assert operator("PATCH", "/tenants/acme", change).status == 400
    assert operator("GET", "/tenants/acme").json == before


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"bytes_per_token": 0},
        {"max_tokens": 0},
        {"input_micro_usd_per_mtok": -1},
        {"operations": ["images"]},
        {"targets": [{"name": "a", "engine": "magic"}]},
        {"targets": [{"name": "a", "engine": "sagemaker", "endpoint": "e"}]},  # known, but not wired here
        {"targets": [{"name": "a", "engine": "scripted", "weight": -1}]},
        {"targets": [{"name": "a", "engine": "scripted", "capacity": 0}]},
    ],
)
def test_a_pool_that_makes_no_sense_is_not_made(operator: Operator, change: Mapping[str, Any]) -> None:
    assert operator("PUT", "/pools/new", {"name": "new", "targets": [], **change}).status == 400
    assert [pool["name"] for pool in operator("GET", "/pools").json["pools"]] == ["model-a"]


@pytest.mark.parametrize("name", ["bad%20name", "-x", "x" * 129, "x%2F", "%2Fx", "a/%2e%2e/b", "a:", "a%2F%2Fb"])
def test_a_pool_has_a_name_that_fits_into_a_path(operator: Operator, name: str) -> None:
    body = {"name": unquote(name), "targets": []}
    assert operator("PUT", f"/pools/{name}", body).status == 400


@pytest.mark.parametrize("name", ["nobody", "~platform", "x" * 3_000, "%00", "%2e%2e", "acme%0A"])
def test_a_tenant_that_is_not_there_is_not_found(operator: Operator, name: str) -> None:
    for answer in (
        operator("GET", f"/tenants/{name}"),
        operator("PATCH", f"/tenants/{name}", {"priority": 1}),
        operator("GET", f"/tenants/{name}/keys"),
        operator("POST", f"/tenants/{name}/keys", {"role": "owner"}),
        operator("DELETE", f"/tenants/{name}/keys/acme.aaaaaaaa"),
    ):
        assert answer.status == 404, answer.body


def test_the_operators_own_tenant_runs_no_model_and_cannot_be_locked_out(operator: Operator) -> None:
    assert operator("PATCH", "/tenants/platform", {"pools": ["model-a"]}).status == 409
    assert operator("PATCH", "/tenants/platform", {"status": "suspended"}).status == 409
    assert operator("PATCH", "/tenants/platform", {"name": "We"}).json["name"] == "We"


def test_a_pool_keeps_its_first_day_when_it_is_replaced(operator: Operator) -> None:
    born = operator("PUT", "/pools/new", {"name": "new", "targets": [_target("w")]}).json["created_s"]
    operator.deployment.clock.now_ms += 5_000
    assert operator("PUT", "/pools/new", {"name": "new", "targets": [_target("x")]}).json["created_s"] == born
    assert operator("DELETE", "/pools/new").status == 204
    assert operator("DELETE", "/pools/new").status == 404


def _target(name: str) -> dict[str, Any]:
    return {"name": name, "engine": "scripted", "url": name}


def _limits(budget: int) -> dict[str, Any]:
    calls = {"name": "calls", "unit": "requests", "limit": budget, "window": "month"}
    return {"rates": [], "budgets": [calls], "in_flight": 8}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"engine": "sagemaker"}, "`endpoint`, a SageMaker endpoint's name."),
        ({"engine": "sagemaker", "endpoint": "", "component": "c"}, "`endpoint`, a SageMaker endpoint's name."),
        ({"engine": "openai_compatible"}, "`url`, as http://10.0.0.7:8000/v1."),
        ({"engine": "openai_compatible", "url": "ftp://10.0.0.7/v1"}, "`url`, as http://10.0.0.7:8000/v1."),
        ({"engine": "bedrock"}, "`region`, as us-east-1, or a `secret` that says it."),
        ({"engine": "bedrock", "region": "", "model": "m"}, "`region`, as us-east-1, or a `secret` that says it."),
    ],
)
def test_a_target_that_lacks_what_its_kind_needs_is_refused_and_told(
    operator: Operator, target: dict[str, str], said: str
) -> None:
    well = {"name": "a", "engine": "scripted"}
    answer = operator("PUT", "/pools/lost", {"name": "lost", "targets": [well, {"name": "b", **target}]})
    assert (answer.status, answer.json["field"]) == (400, "targets[1]")
    assert answer.json["detail"] == f"targets[1]: The target 'b' needs {said}"


def test_a_targets_key_is_kept_in_secrets_manager_and_shown_nowhere(operator: Operator) -> None:
    operator.deployment.kinds = ("scripted", "openai_compatible")
    with wiring.opening_into(operator.deployment.rooms()):
        target = {
            "name": "a",
            "engine": "openai_compatible",
            "url": "https://a.example.com/v1",
            "secret": "cloister-key",
        }
        put = operator("PUT", "/pools/theirs", {"name": "theirs", "targets": [target]})
        assert (put.status, put.json["targets"][0]["secret"]) == (200, "cloister-key")  # its name, all that there is
        for wrong, field in (
            (target | {"url": "http://a.example.com/v1"}, "targets[0].url"),
            (target | {"api_key": "sk-1"}, "targets[0].api_key"),
            (target | {"secret": "x" * 3_000}, "targets[0].secret"),
        ):
            refused = operator("PUT", "/pools/theirs", {"name": "theirs", "targets": [wrong]})
            assert (refused.status, refused.json["field"]) == (400, field)
            assert b"sk-1" not in refused.body


GONE = EngineFailed("The model could not be reached.", symptom="ECONNREFUSED")


@contextmanager
def answering(deployment: Deployment, script: Script) -> Iterator[None]:
    """Another engine behind the doors, in a sandbox of its own."""
    deployment.engine = ScriptedEngine(script)
    with wiring.opening_into(deployment.rooms()):
        yield


def test_a_pool_tells_how_its_targets_are_and_why_one_failed(operator: Operator) -> None:
    key = operator.deployment.key()

    def script(target: Target, _: Call) -> Iterable[Step]:
        return (GONE,) if target.name == "a" else whole("hello", instance=target.name)

    with answering(operator.deployment, script):
        fresh = operator("GET", "/pools/model-a").json
        assert fresh["pool"] == operator("GET", "/pools").json["pools"][0]
        assert [(each["name"], each["last_failure"]) for each in fresh["targets"]] == [("a", None), ("b", None)]
        for _ in range(4):
            assert operator.infer(key).status == 200
        first, second = operator("GET", "/pools/model-a").json["targets"]
        assert first.pop("latency_ms") >= 0
        assert first == {
            "name": "a",
            "engine": "scripted",
            "healthy": True,
            "capacity": {"total": 1, "in_flight": 0, "queue_depth": 0, "instance": ""},
            "breaker": "open",
            "retry_in_ms": 10_000,
            "held_back": "one_tenant",
            "last_failure": {
                "at_ms": operator.deployment.clock(),
                "cause": "The model could not be reached.",
                "symptom": "ECONNREFUSED",
                "model": "",
                "met_by": "call",
            },
        }
        assert (second["breaker"], second["retry_in_ms"], second["last_failure"]) == ("closed", None, None)
        operator.deployment.clock.now_ms += 10_000
        first = operator("GET", "/pools/model-a").json["targets"][0]
        assert (first["breaker"], first["retry_in_ms"]) == ("half_open", 0)


def test_a_pool_that_nobody_can_run_is_named_to_the_operator_and_not_to_the_tenant(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(operator.deployment, lambda _target, _call: (GONE,)):
        answer = operator.infer(operator.deployment.key())
    assert answer.status == 503 and "no healthy target" in answer.json["detail"]
    assert b"ECONNREFUSED" not in answer.body and GONE.text.encode() not in answer.body
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"NoTarget":1' in line]
    assert (line["pool"], line["cause"], line["symptom"]) == ("model-a", GONE.text, "ECONNREFUSED")


def test_a_pool_that_is_not_there_is_not_found(operator: Operator) -> None:
    assert operator("GET", "/pools/none").status == 404


def test_a_target_says_of_which_kind_it_is(operator: Operator) -> None:
    for target in ({}, {"engine": "magic"}):
        answer = operator("PUT", "/pools/lost", {"name": "lost", "targets": [{"name": "a", **target}]})
        assert (answer.status, answer.json["field"]) == (400, "targets[0].engine")
        assert "It is one of: sagemaker, openai_compatible, bedrock, scripted." in answer.json["detail"]


def test_the_principals_of_a_tenant_are_what_was_put_last(operator: Operator) -> None:
    path = "/tenants/acme/principals"
    role, user = "arn:aws-us-gov:iam::111122223333:role/app", "arn:aws:iam::111122223333:user/team/ada"
    assert operator("GET", path).json == {"principals": []}
    assert operator("PUT", path, {"principals": [role, user]}).json == {"principals": [role, user]}
    assert operator("PUT", "/tenants/bolt/principals", {"principals": [role]}).status == 409
    assert operator("DELETE", path).status == 204
    assert operator("GET", path).json == {"principals": []}
    assert operator("PUT", "/tenants/bolt/principals", {"principals": [role]}).status == 200


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws-us-gov:sts::111122223333:assumed-role/app/one",  # name its role
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::1111:role/app",
        "arn:aws:iam::111122223333:role/app\n",
        "arn:aws:iam::111122223333:user/" + "x" * 200,
        "*",
        "",
    ],
)
def test_what_is_no_user_and_no_role_is_no_principal(operator: Operator, arn: str) -> None:
    answer = operator("PUT", "/tenants/acme/principals", {"principals": [arn]})
    assert (answer.status, answer.json["type"]) == (400, "/problems/invalid-request")
