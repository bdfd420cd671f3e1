"""A guardrail of Bedrock's behind a tenant's rules: whose it is, what it does at the doors, and what its faults do."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any

import msgspec
import openai
import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.dialects.apply_guardrail import Source, Unanswered, Verdict, verdict
from chalicelib.engines.scripted import ScriptedEngine, Step, whole, words
from chalicelib.pool import BedrockGuardrail, Target
from chalicelib.tenancy import PLATFORM_TENANT
from emulators.bedrock.guardrail import Guardrail, Pii, Topic, applied
from tests.small_deployments import Answer, Deployment, Gateway

ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/a1b2"
OFFERED = {"name": "pii", "arn": ARN, "version": "3"}
DEMO = Guardrail("a1b2", topics=(Topic("merger", ("project falcon",)),), pii=(Pii("EMAIL"),))
BEDROCK = {"guardrail": "pii"}
RULES = {"packs": ["cards"], "refusal": "Not here.", "bedrock": BEDROCK}


class Bedrock:
    """The local Bedrock's guardrail without its network; `fails` on command."""

    def __init__(self) -> None:
        self.fails = False
        self.asked: list[tuple[BedrockGuardrail, str, list[str], int]] = []

    def __call__(self, guardrail: BedrockGuardrail, source: Source, texts: Sequence[str], deadline_ms: int) -> Verdict:
        self.asked.append((guardrail, source, list(texts), deadline_ms))
        if self.fails:
            raise Unanswered("ThrottlingException")
        return verdict(msgspec.json.encode(applied(DEMO, source, texts)))


class Model:
    def __init__(self) -> None:
        self.says = "fine"
        self.asked: list[str] = []

    def __call__(self, _target: Target, call: Call) -> Iterable[Step]:
        self.asked.append(msgspec.json.encode(call.fields).decode())
        return words(self.says) if call.stream else whole(self.says)


@pytest.fixture
def bedrock() -> Bedrock:
    return Bedrock()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def acme(model: Model, bedrock: Bedrock, gateway: Gateway) -> Iterator["Acme"]:
    deployment = Deployment(engine=ScriptedEngine(model))
    deployment.apply_guardrail = bedrock
    deployment.pool("model-a", "a")
    deployment.tenant("acme")
    deployment.tenant("bolt")
    deployment.tenant(PLATFORM_TENANT, pools=())
    with wiring.opening_into(deployment.rooms()):
        yield Acme(gateway, deployment)


class Acme:
    """The tenant, its operator, and another tenant."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.key = deployment.key("acme")

    def offer(self, *offered: Any, tenant: str = "acme") -> Answer:
        key = self.deployment.key(PLATFORM_TENANT)
        path = f"/admin/tenants/{tenant}/bedrock-guardrails"
        return self.gateway.call("PUT", path, key=key, json={"guardrails": offered})

    def put(self, rules: Any, tenant: str = "acme") -> Answer:
        return self.gateway.call("PUT", f"/tenants/{tenant}/guardrails", key=self.deployment.key(tenant), json=rules)

    def judged_by_bedrock(self, **more: Any) -> None:
        assert self.offer(OFFERED).status == 200
        answer = self.put({**RULES, "bedrock": {**BEDROCK, **more}})
        assert answer.status == 200, answer.body

    def chat(self, text: str, **more: Any) -> Answer:
        asked = {"model": "model-a", "messages": [{"role": "user", "content": text}], **more}
        return self.gateway.call("POST", "/tenants/acme/v1/chat/completions", key=self.key, json=asked)

    def entries(self) -> Any:
        return self.deployment.store.ledger.page("acme", 0, 10**15, None, 100).entries


def test_owners_choose_by_name_from_what_the_operator_offers_them(acme: Acme) -> None:
    refused = acme.put(RULES)
    assert (refused.status, "there are none; ask the operator" in refused.json["detail"]) == (400, True)
    assert acme.offer(OFFERED, {**OFFERED, "name": "strict", "version": "DRAFT"}).status == 200
    assert "there are pii, strict" in acme.put({"bedrock": {"guardrail": "mine"}}).json["detail"]
    shown = acme.put(RULES).json
    assert shown["bedrock"] == {"guardrail": "pii", "direction": "both", "deadline_ms": 2_000, "on_fault": "closed"}
    assert shown["offered"] == ["pii", "strict"]
    assert "a1b2" not in str(shown)
    assert acme.gateway.call("GET", "/tenants/acme/guardrails", key=acme.key).json == shown


def test_what_one_tenant_is_offered_no_other_may_use_or_learn_of(acme: Acme) -> None:
    acme.offer(OFFERED)
    refused = acme.put(RULES, tenant="bolt")
    assert refused.status == 400 and "there are none" in refused.json["detail"]
    unknown = acme.put({"bedrock": {"guardrail": "any"}}, tenant="bolt").json["detail"]
    assert unknown.replace("any", "pii") == refused.json["detail"]
    assert acme.put({}, tenant="bolt").json["offered"] == []


@pytest.mark.parametrize(
    ("offered", "field"),
    [
        ([{**OFFERED, "arn": "a1b2"}], "arn"),
        ([{**OFFERED, "arn": ARN + "\n"}], "arn"),
        ([{**OFFERED, "arn": ARN.replace("aws", "aws-us-gov").replace("us-east-1", "us-gov-west-1")}], "arn"),
        ([{**OFFERED, "arn": ARN.replace("us-east-1", "us-gov-west-1")}], "arn"),
        ([{**OFFERED, "version": "0"}], "version"),
        ([OFFERED, OFFERED], "guardrails[1].name"),
    ],
)
def test_an_operator_offers_nothing_that_cannot_be_reached(acme: Acme, offered: Any, field: str) -> None:
    refused = acme.offer(*offered)
    assert refused.status == 400
    assert field in str(refused.json)


@pytest.mark.parametrize(
    "bedrock",
    [
        {},
        {"guardrail": "pii", "deadline_ms": 5},
        {"guardrail": "pii", "on_fault": "maybe"},
        {"guardrail": "pii", "x": 1},
    ],
)
def test_an_owner_sets_nothing_that_means_nothing(acme: Acme, bedrock: Any) -> None:
    acme.offer(OFFERED)
    assert acme.put({"bedrock": bedrock}).status == 400


def test_a_prompt_that_it_blocks_reaches_no_model_costs_nothing_and_is_asked_about_once(
    acme: Acme, model: Model, bedrock: Bedrock
) -> None:
    acme.judged_by_bedrock(deadline_ms=700)
    refused = acme.chat("what of Project Falcon?")
    error = refused.json["error"]
    assert (refused.status, error["code"], error["message"]) == (400, "content_refused", "Not here.")
    assert (model.asked, acme.entries()) == ([], ())
    assert [(each[0].arn, each[0].version, *each[1:]) for each in bedrock.asked] == [
        (ARN, "3", "INPUT", ["what of Project Falcon?"], 700)
    ]


def test_a_prompt_that_it_masks_goes_on_masked_after_our_own_rules(acme: Acme, model: Model, bedrock: Bedrock) -> None:
    acme.judged_by_bedrock()
    assert acme.chat("ann@example.org has 4111 1111 1111 1111").status == 200
    assert "{EMAIL} has [cards]" in model.asked[-1]
    assert bedrock.asked[0][2] == ["ann@example.org has [cards]"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_masked_on_its_way(acme: Acme, model: Model, stream: bool) -> None:
    acme.judged_by_bedrock()
    model.says = "write to ann@example.org and bob@example.org"
    answer = acme.chat("whom?", stream=stream)
    assert answer.status == 200 and b"example.org" not in answer.body
    assert answer.body.count(b"{EMAIL}") == 2


def test_a_whole_answer_that_it_blocks_is_refused_and_charged(acme: Acme, model: Model) -> None:
    acme.judged_by_bedrock()
    model.says = "it is project falcon"
    assert acme.chat("?").json["error"]["message"] == "Not here."
    (entry,) = acme.entries()
    assert entry.reason == "ContentRefused" and entry.charged.tokens > 0


def test_a_stream_that_it_blocks_ends_in_openais_words(acme: Acme, model: Model) -> None:
    acme.judged_by_bedrock()
    model.says = "all is well " * 100 + "and project falcon is " + "well " * 300
    client = openai.OpenAI(api_key=acme.key, base_url=f"{acme.gateway.base_url}/tenants/acme/v1", max_retries=0)
    said, reasons = "", []
    with pytest.raises(openai.APIError, match="Not here"):
        for chunk in client.chat.completions.create(
            model="model-a", messages=[{"role": "user", "content": "?"}], stream=True
        ):
            said += chunk.choices[0].delta.content or ""
            reasons.append(chunk.choices[0].finish_reason)
    assert said and ("all is well " * 100).startswith(said)
    assert reasons[-1] == "content_filter"
    (entry,) = acme.entries()
    assert entry.charged.tokens > 0


def test_directions_are_asked_about_as_they_are_chosen(acme: Acme, bedrock: Bedrock) -> None:
    acme.judged_by_bedrock(direction="out")
    assert acme.chat("project falcon").status == 200
    acme.judged_by_bedrock(direction="in")
    assert acme.chat("hello").status == 200
    assert [each[1] for each in bedrock.asked] == ["OUTPUT", "INPUT"]


def test_where_it_says_nothing_a_closed_stage_refuses_prompts_and_costs_nothing(
    acme: Acme, model: Model, bedrock: Bedrock
) -> None:
    acme.judged_by_bedrock(on_fault="closed")
    bedrock.fails = True
    refused = acme.chat("hello")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "guardrail" in refused.json["error"]["message"]
    assert (model.asked, acme.entries()) == ([], ())


@pytest.mark.parametrize("stream", [False, True])
def test_where_it_says_nothing_a_closed_stage_lets_no_answer_out_and_charges_it(
    acme: Acme, model: Model, bedrock: Bedrock, stream: bool
) -> None:
    acme.judged_by_bedrock(on_fault="closed", direction="out")
    bedrock.fails, model.says = True, "a canary"
    answer = acme.chat("hello", stream=stream)
    assert b"canary" not in answer.body and b"did not answer in time" in answer.body
    (entry,) = acme.entries()
    assert entry.reason == "ContentRefused" and entry.charged.tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_where_it_says_nothing_an_open_stage_lets_pass(
    acme: Acme, model: Model, bedrock: Bedrock, stream: bool
) -> None:
    acme.judged_by_bedrock(on_fault="open")
    bedrock.fails, model.says = True, "all is well"
    answer = acme.chat("project falcon", stream=stream)
    assert answer.status == 200 and b"content_refused" not in answer.body
    assert "project falcon" in model.asked[-1]


def test_what_is_opened_is_open_from_the_next_request_on(acme: Acme, bedrock: Bedrock) -> None:
    acme.judged_by_bedrock(on_fault="closed")
    bedrock.fails = True
    other = acme.deployment.rooms()
    with wiring.opening_into(other):
        assert acme.chat("hello").status == 503
    acme.judged_by_bedrock(on_fault="open")
    with wiring.opening_into(other):
        assert acme.chat("hello").status == 200  # though this gateway remembers that it was closed


def test_one_that_is_offered_no_more_says_nothing(acme: Acme, bedrock: Bedrock) -> None:
    acme.judged_by_bedrock()
    acme.offer()
    assert acme.chat("hello").status == 503
    assert bedrock.asked == []


def test_what_it_cost_and_did_is_counted_without_a_word_of_what_was_said(
    acme: Acme, model: Model, bedrock: Bedrock
) -> None:
    acme.judged_by_bedrock(on_fault="open")
    model.says = "canary@example.org " * 100
    with redirect_stdout(io.StringIO()) as log:
        acme.chat("canary of canary@example.org")
        bedrock.fails = True
        acme.chat("canary")
    lines = [msgspec.json.decode(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    prompt, answer = (line for line in lines if "GuardrailApplied" in line)
    faults = [line for line in lines if "GuardrailFaults" in line]
    assert (prompt["where"], prompt["guardrail"], prompt["calls"]) == ("prompt", "pii", 1)
    assert (answer["where"], answer["calls"], answer["topic_units"]) == ("answer", 1, 2)
    assert answer["sensitiveInformation_units"] == 2
    assert [(line["where"], line["symptom"], line["on_fault"]) for line in faults] == [
        ("prompt", "ThrottlingException", "open"),
        ("answer", "ThrottlingException", "open"),
    ]
    assert "canary" not in log.getvalue() and "a1b2" not in log.getvalue()
