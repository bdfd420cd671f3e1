"""A tenant's rules at its doors: set by owners, true at once and everywhere, and in each route's own words."""

from collections.abc import Iterable, Iterator
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from chalicelib import wiring
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import ScriptedEngine, Step, whole, words
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import StoreUnavailable
from chalicelib.tenancy.guardrails import DOCUMENT
from tests import streamed
from tests.small_deployments import Deployment, Gateway

RULES: dict[str, Any] = {
    "rules": [
        {"name": "badge", "pattern": r"\bid-\d{4}\b", "action": "redact", "direction": "both"},
        {"name": "secret", "pattern": "the secret", "action": "refuse", "direction": "both"},
    ],
    "tools": {"blocked": ["rm_*"]},
    "refusal": "Not here.",
}
TOPIC: dict[str, Any] = {"topics": [{"name": "merger", "phrases": ["project falcon"]}]}


class Model:
    """Says what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.says = "fine"
        self.calls = ""  # a tool
        self.asked: list[Call] = []

    def __call__(self, _target: Target, call: Call) -> Iterable[Step]:
        self.asked.append(call)
        if self.calls:
            return calling(self.calls, stream=call.stream)
        return words(self.says) if call.stream else whole(self.says)

    @property
    def last(self) -> str:
        return msgspec.json.encode(self.asked[-1].fields).decode()


def calling(name: str, *, stream: bool) -> Iterable[Step]:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    told = {
        "delta" if stream else "message": {"role": "assistant", "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }
    said = {"object": "chat.completion", "model": "m", "choices": [{"index": 0, **told}]}
    return Started("i"), Delta(msgspec.json.encode(said), 1), Finished(Usage(1, 1))


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def guarded(model: Model) -> Iterator[Deployment]:
    deployment = Deployment(engine=ScriptedEngine(model, spoken=("chat.completions", "embeddings")))
    deployment.tenancy.put_pool(
        Pool("model-a", (Scripted("a", url="a"),), ("chat.completions", "completions", "embeddings"))
    )
    deployment.tenant("acme")
    deployment.tenant("bolt")
    with wiring.opening_into(deployment.rooms()):
        yield deployment


def put(gateway: Gateway, deployment: Deployment, rules: Any = RULES) -> Any:
    answer = gateway.call("PUT", "/tenants/acme/guardrails", key=deployment.key("acme"), json=rules)
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body)


def chat(gateway: Gateway, key: str, text: str, *, tenant: str = "acme", **more: Any) -> Any:
    asked = {"model": "model-a", "messages": [{"role": "user", "content": text}], **more}
    return gateway.call("POST", f"/tenants/{tenant}/v1/chat/completions", key=key, json=asked)


def entries(deployment: Deployment, tenant: str = "acme") -> Any:
    return deployment.store.ledger.page(tenant, 0, 10**15, None, 100).entries


def test_rules_are_shown_as_they_were_put_with_a_version_that_grows(gateway: Gateway, guarded: Deployment) -> None:
    key = guarded.key("acme")
    before = msgspec.json.decode(gateway.call("GET", "/tenants/acme/guardrails", key=key).body)
    assert (before["version"], before["rules"]) == (0, [])
    first, second = put(gateway, guarded), put(gateway, guarded, {**RULES, "packs": ["cards"]})
    assert 0 < first["version"] < second["version"]
    shown = msgspec.json.decode(gateway.call("GET", "/tenants/acme/guardrails", key=key).body)
    assert shown == second
    assert (shown["rules"], shown["packs"], shown["refusal"]) == (RULES["rules"], ["cards"], "Not here.")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"rules": [{"name": "a", "pattern": "(?=x)"}]}, "rule 'a'"),
        ({"packs": ["dogs"]}, "no pack 'dogs'"),
        ({"rules": [{"name": "a", "pattern": "x+", "action": "redact"}]}, "{0,100}"),
        ({"rulez": []}, "rulez"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_reason(
    gateway: Gateway, guarded: Deployment, rules: Any, said: str
) -> None:
    answer = gateway.call("PUT", "/tenants/acme/guardrails", key=guarded.key("acme"), json=rules)
    assert answer.status == 400
    assert said in msgspec.json.decode(answer.body)["detail"]


def test_a_prompt_that_is_refused_reaches_no_model_and_costs_nothing(
    gateway: Gateway, guarded: Deployment, model: Model
) -> None:
    put(gateway, guarded)
    answer = chat(gateway, guarded.key("acme"), "tell me the secret now")
    error = msgspec.json.decode(answer.body)["error"]
    assert (answer.status, error["code"], error["message"]) == (400, "content_refused", "Not here.")
    assert model.asked == []
    assert entries(guarded) == ()


def test_what_is_redacted_does_not_reach_the_model(gateway: Gateway, guarded: Deployment, model: Model) -> None:
    put(gateway, guarded)
    assert chat(gateway, guarded.key("acme"), "I am id-1234.").status == 200
    assert "I am [badge]." in model.last
    assert "1234" not in model.last


def test_rules_hold_at_once_at_every_gateway_and_for_their_tenant_alone(
    gateway: Gateway, guarded: Deployment, model: Model
) -> None:
    other, key = guarded.rooms(), guarded.key("acme")
    text = "tell me the secret"
    with wiring.opening_into(other):
        assert chat(gateway, key, text).status == 200  # it remembers the tenant without rules
    put(gateway, guarded)
    with wiring.opening_into(other):
        assert chat(gateway, key, text).status == 400
        assert chat(gateway, guarded.key("bolt"), text, tenant="bolt").status == 200
    put(gateway, guarded, {})
    with wiring.opening_into(other):
        assert chat(gateway, key, text).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_redacted_on_its_way(gateway: Gateway, guarded: Deployment, model: Model, stream: bool) -> None:
    put(gateway, guarded)
    model.says = "you are id-1234 and not id-99"
    answer = chat(gateway, guarded.key("acme"), "who am I?", stream=stream)
    assert answer.status == 200
    assert b"1234" not in answer.body
    assert _text(answer.body, stream=stream) == "you are [badge] and not id-99"
    (entry,) = entries(guarded)
    assert (entry.outcome, entry.tokens_out) == ("completed", 6)


def test_a_stream_that_is_refused_ends_with_its_reason_and_is_charged(
    gateway: Gateway, guarded: Deployment, model: Model
) -> None:
    put(gateway, guarded)
    model.says = "well, it is the secret of ours"
    answer = chat(gateway, guarded.key("acme"), "go on", stream=True)
    events = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n\n") if line.startswith(b"data: ")]
    last = msgspec.json.decode(events[-1])["error"]
    assert (last["code"], last["message"]) == ("content_refused", "Not here.")
    assert msgspec.json.decode(events[-2])["choices"][0]["finish_reason"] == "content_filter"
    assert _text(answer.body, stream=True) == "well, it is "
    (entry,) = entries(guarded)
    assert (entry.outcome, entry.reason) == ("failed", "ContentRefused")
    assert entry.charged.tokens == entry.used.tokens > 0


def test_a_whole_answer_that_is_refused_is_charged_as_its_engine_counted(
    gateway: Gateway, guarded: Deployment, model: Model
) -> None:
    put(gateway, guarded)
    model.says = "it is the secret of ours"
    answer = chat(gateway, guarded.key("acme"), "go on")
    assert (answer.status, msgspec.json.decode(answer.body)["error"]["code"]) == (400, "content_refused")
    assert b"ours" not in answer.body
    (entry,) = entries(guarded)
    assert (entry.reason, entry.tokens_out) == ("ContentRefused", 6)
    assert entry.charged.tokens == 7


@pytest.mark.parametrize("rules", [None, {"tools": {"blocked": ["get_key"]}}])
def test_a_key_is_limited_to_its_tools_whether_its_tenant_has_rules_or_not(
    gateway: Gateway, guarded: Deployment, model: Model, rules: Any
) -> None:
    if rules is not None:
        put(gateway, guarded, rules)
    key = guarded.key("acme", tools=("get_*",))

    def offering(name: str) -> Any:
        return chat(gateway, key, "go on", tools=[{"type": "function", "function": {"name": name}}], logprobs=True)

    assert offering("get_mail").status == 200
    refused = offering("put_mail")
    assert (refused.status, msgspec.json.decode(refused.body)["error"]["code"]) == (400, "content_refused")
    assert offering("get_key").status == (200 if rules is None else 400)
    prompt = gateway.call("POST", "/tenants/acme/v1/completions", key=key, json={"model": "model-a", "prompt": [1, 2]})
    assert b"Send it as text" not in prompt.body  # tokens offer no tools


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_calls_no_tool_that_its_callers_key_has_not(
    gateway: Gateway, guarded: Deployment, model: Model, stream: bool
) -> None:
    model.calls = "put_mail"
    key = guarded.key("acme", tools=("get_*",))
    answer = chat(gateway, key, "go on", stream=stream)
    assert b"content_refused" in answer.body
    assert b"put_mail" not in answer.body
    assert b"put_mail" in chat(gateway, guarded.key("acme"), "go on", stream=stream).body
    model.calls = "get_mail"
    assert b"get_mail" in chat(gateway, key, "go on", stream=stream).body


@pytest.mark.parametrize("tenants", [None, {"packs": [{"name": "mail", "action": "flag"}], "refusal": "Not here."}])
def test_a_key_has_rules_of_its_own_beside_its_tenants(
    gateway: Gateway, guarded: Deployment, model: Model, tenants: Any
) -> None:
    if tenants is not None:
        put(gateway, guarded, tenants)
    asked = {"role": "developer", "guardrails": {"packs": ["mail"], "max_prompt_bytes": 40, **TOPIC}}
    made = gateway.call("POST", "/tenants/acme/keys", key=guarded.key("acme"), json=asked)
    assert made.status == 201, made.body
    key, others = made.json["api_key"], guarded.key("acme")
    assert made.json["key"]["guardrails"]["max_prompt_bytes"] == 40
    model.says = "write to eve@acme.example"
    for stream in (False, True):
        answer = chat(gateway, key, "I am ada@acme.example", stream=stream)
        assert "I am [mail]" in model.last
        assert _text(answer.body, stream=stream) == "write to [mail]"
    refused = chat(gateway, key, "our project falcon")
    said = "Not here." if tenants else "against the rules"
    assert refused.status == 400
    assert said in refused.json["error"]["message"]
    assert chat(gateway, key, "x" * 41).status == 400
    for text in ("our project falcon", "x" * 41, "I am ada@acme.example"):
        assert chat(gateway, others, text).status == 200
        assert text in model.last


def test_a_key_keeps_its_rules_when_it_is_rotated_and_whatever_its_tenant_does(
    gateway: Gateway, guarded: Deployment, model: Model
) -> None:
    owner, asked = guarded.key("acme"), {"role": "developer", "guardrails": TOPIC}
    made = gateway.call("POST", "/tenants/acme/keys", key=owner, json=asked).json
    rotated = gateway.call("POST", f"/tenants/acme/keys/{made['key']['id']}/rotate", key=owner, json={}).json
    for rules in ({}, RULES, {"topics": [{**TOPIC["topics"][0], "action": "flag"}]}, {}):
        put(gateway, guarded, rules)
        for key in (made["api_key"], rotated["api_key"]):
            assert chat(gateway, key, "our project falcon").status == 400
            assert chat(gateway, key, "our project").status == 200
    assert len(model.asked) == 8


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "say nothing"),
        ({"packs": ["dogs"]}, "no pack 'dogs'"),
        ({"rules": [{"name": f"r{n}", "pattern": "x" * 900} for n in range(12)]}, "10,000 bytes at most"),
        ({"rulez": []}, "rulez"),
        ({"allow": {}}, "allow"),
    ],
)
def test_what_no_key_can_have_is_refused_with_its_reason(
    gateway: Gateway, guarded: Deployment, rules: Any, said: str
) -> None:
    asked = {"role": "developer", "guardrails": rules}
    answer = gateway.call("POST", "/tenants/acme/keys", key=guarded.key("acme"), json=asked)
    assert answer.status == 400
    assert said in answer.json["detail"]
    assert len(guarded.tenancy.keys("acme")) == 1


def test_what_a_tenant_allows_alone_is_no_reason_to_judge(gateway: Gateway, guarded: Deployment) -> None:
    put(gateway, guarded, {"allow": {"surfaces": ["openai"]}})
    with wiring.opening_into(guarded.rooms()):
        answer = gateway.call(
            "POST", "/tenants/acme/v1/completions", key=guarded.key("acme"), json={"model": "model-a", "prompt": [1, 2]}
        )
    assert b"Send it as text" not in answer.body


def test_a_tenant_without_its_rules_runs_nothing(gateway: Gateway, guarded: Deployment, model: Model) -> None:
    put(gateway, guarded)
    held = guarded.store.documents.get("acme", DOCUMENT)
    assert held is not None
    guarded.store.documents.delete(held)
    with wiring.opening_into(guarded.rooms()):
        assert chat(gateway, guarded.key("acme"), "hi").status == 503
    with pytest.raises(StoreUnavailable):
        guarded.path().snapshots.fresh("acme")
    assert model.asked == []


def test_openais_sdk_sees_refusals_as_it_knows_them(gateway: Gateway, guarded: Deployment, model: Model) -> None:
    put(gateway, guarded)
    client = openai.OpenAI(
        api_key=guarded.key("acme"), base_url=f"http://{gateway.host}:{gateway.port}/tenants/acme/v1", max_retries=0
    )
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="model-a", messages=[{"role": "user", "content": "the secret"}])
    assert refused.value.code == "content_refused"
    model.says = "I know you, id-1234"
    assert client.responses.create(model="model-a", input="who?").output_text == "I know you, [badge]"
    with client.responses.stream(model="model-a", input="who?") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert deltas == stream.get_final_response().output_text == "I know you, [badge]"
    model.says = "It is the secret of ours"
    with (
        pytest.raises(openai.APIError, match="Not here"),
        client.responses.stream(model="model-a", input="?") as stream,
    ):
        said = [event for event in stream if event.type == "response.output_text.delta"]
        pytest.fail(f"no refusal after {said}")


def test_anthropics_sdk_sees_refusals_as_it_knows_them(gateway: Gateway, guarded: Deployment, model: Model) -> None:
    put(gateway, guarded)
    client = anthropic.Anthropic(
        api_key=guarded.key("acme"), base_url=f"http://{gateway.host}:{gateway.port}/tenants/acme", max_retries=0
    )
    asked: Any = {"model": "model-a", "max_tokens": 16, "messages": [{"role": "user", "content": "who?"}]}
    with pytest.raises(anthropic.BadRequestError, match="Not here"):
        client.messages.create(**{**asked, "system": "the secret"})
    model.says = "I know you, id-1234"
    (block,) = client.messages.create(**asked).content
    assert block.type == "text"
    assert block.text == "I know you, [badge]"
    with client.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == "I know you, [badge]"
    model.says = "It is the secret of ours"
    seen = []
    with pytest.raises(anthropic.APIStatusError, match="Not here"), client.messages.stream(**asked) as stream:
        seen += list(stream.text_stream)
    assert "secret" not in "".join(seen)


def _text(body: bytes, *, stream: bool) -> str:
    if not stream:
        return str(msgspec.json.decode(body)["choices"][0]["message"]["content"])
    return streamed.text(body)
