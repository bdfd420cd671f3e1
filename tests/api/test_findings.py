"""What guardrails flag and refuse reaches the operators' list: which rule, how often, who, from where; no content."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.scripted import ScriptedEngine, Step, whole, words
from chalicelib.pool import Target
from chalicelib.refusal import StoreUnavailable
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.tenant import VelocityRule
from chalicelib.velocity import FINDINGS
from tests.sight.kept import Kept
from tests.small_deployments import Answer, Deployment, Gateway
from tests.velocity.counting import Counted

RULES = {
    "rules": [
        {"name": "falcon", "pattern": "falcon", "action": "flag"},
        {"name": "secret", "pattern": "the secret", "action": "refuse"},
        {"name": "badge", "pattern": r"\bid-\d{4}\b", "action": "redact"},
    ],
    "tools": {"blocked": ["rm_*"]},
}


class Scene:
    """A tenant with guardrails, and its operator."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.key = deployment.key(role="owner")
        self.operator = deployment.key(PLATFORM_TENANT)
        assert gateway.call("PUT", "/tenants/acme/guardrails", key=self.key, json=RULES).status == 200

    def chat(self, text: str, **more: Any) -> Answer:
        asked = {"model": "model-a", "messages": [{"role": "user", "content": text}], **more}
        return self.gateway.call("POST", "/tenants/acme/v1/chat/completions", key=self.key, json=asked)

    def allow(self, most: int, action: str = "flag") -> None:
        rules = [{"what": "findings", "most": most, "per_s": 60, "action": action}]
        answer = self.gateway.call("PUT", "/admin/tenants/acme/velocity", key=self.operator, json={"rules": rules})
        assert answer.status == 200

    def reviews(self) -> list[dict[str, Any]]:
        answer = self.gateway.call("GET", "/admin/reviews", key=self.operator)
        assert b"falcon lands" not in answer.body
        found: list[dict[str, Any]] = answer.json["reviews"]
        return found


@pytest.fixture
def noted() -> Kept:
    return Kept()


@pytest.fixture
def windows() -> Counted:
    return Counted()


@pytest.fixture
def scene(gateway: Gateway, noted: Kept, windows: Counted) -> Iterator[Scene]:
    def answered(_: Target, call: Call) -> Iterator[Step]:
        asked = bytes(call.fields["messages"]).decode()
        said = "falcon lands" if "answer me" in asked else "the secret" if "tell me" in asked else "fine"
        return iter(words(said) if call.stream else whole(said))

    deployment = Deployment(engine=ScriptedEngine(answered))
    deployment.telemetry = noted
    deployment.store = msgspec.structs.replace(deployment.store, windows=windows)
    deployment.pool()
    deployment.tenant()
    deployment.tenant(PLATFORM_TENANT, pools=())
    with wiring.opening_into(deployment.rooms()):
        yield Scene(gateway, deployment)


def test_more_findings_than_the_operator_allows_open_a_review_without_content(scene: Scene) -> None:
    scene.allow(2)
    assert [scene.chat(f"falcon lands {n}").status for n in range(2)] == [200, 200]
    assert scene.reviews() == []
    assert scene.chat("falcon lands 2").status == 200
    (review,) = scene.reviews()
    assert (review["tenant"], review["id"], review["found"]) == ("acme", "findings-60", {"falcon": 3})
    assert (review["subjects"][0][:4], review["addresses"]) == ("key:", ["127.0.0.1"])


def test_refused_prompts_and_answers_of_either_form_count_and_what_is_redacted_does_not(scene: Scene) -> None:
    scene.allow(1)
    assert [scene.chat(f"id-1234 {n}").status for n in range(3)] == [200, 200, 200]
    assert scene.reviews() == []
    assert scene.chat("the secret").status == 400
    assert scene.chat("answer me", stream=True).status == 200
    (review,) = scene.reviews()
    assert review["found"] == {"secret": 1, "falcon": 1}
    scene.deployment.clock.now_ms += 60_000
    assert scene.chat("tell me").status == 400
    assert scene.chat("hello", tools=[{"type": "function", "function": {"name": "rm_all"}}]).status == 400
    (review,) = scene.reviews()
    assert (review["windows"], review["found"]) == (2, {"falcon": 1, "secret": 2, "tools": 1})


def test_nothing_is_written_for_a_prompt_that_is_repeated_or_once_the_review_is_open(
    scene: Scene, windows: Counted
) -> None:
    scene.allow(1)
    for _ in range(3):
        assert scene.chat("the secret").status == 400
    assert windows.asked == 1
    for n in range(5):
        assert scene.chat(f"falcon lands {n}").status == 200
    assert windows.asked == 2
    assert len(scene.reviews()) == 1


def test_a_throttle_refuses_prompts_with_findings_and_no_others(scene: Scene) -> None:
    scene.allow(1)
    assert [scene.chat(f"falcon lands {n}").status for n in range(2)] == [200, 200]
    step = "/admin/tenants/acme/reviews/findings-60/throttle"
    assert scene.gateway.call("POST", step, key=scene.operator, json={"reason": "too many"}).status == 200
    refused = scene.chat("falcon lands again")
    assert (refused.status, refused.json["error"]["limit"]) == (429, "findings-per-60-s")
    assert scene.chat("hello").status == 200


def test_operators_are_told_where_they_have_set_nothing(scene: Scene) -> None:
    for n in range(FINDINGS.most + 1):
        assert scene.chat(f"falcon lands {n}").status == 200
    (review,) = scene.reviews()
    assert (review["id"], review["found"]) == ("findings-3600", {"falcon": FINDINGS.most + 1})


def test_a_prompt_that_is_judged_twice_is_counted_once(scene: Scene, noted: Kept) -> None:
    assert scene.chat("falcon lands").status == 200
    scene.deployment.tenancy.velocity.put("acme", (VelocityRule("keys", 9),))  # what the gateway remembers is old now
    assert scene.chat("falcon lands").status == 200
    assert [(each["where"], each["findings"]) for each in noted.of("GuardFindings")] == [("prompt", 1)] * 2


def test_an_answer_is_given_though_its_findings_cannot_be_counted(scene: Scene, noted: Kept, windows: Counted) -> None:
    windows.broken = StoreUnavailable("down")
    assert scene.chat("answer me").status == 200
    assert len(noted.of("FindingsUncounted")) == 1
    assert scene.chat("falcon lands").status == 503


def test_tenants_without_guardrails_cost_nothing(scene: Scene, windows: Counted) -> None:
    scene.gateway.call("PUT", "/tenants/acme/guardrails", key=scene.key, json={})
    assert scene.chat("hello").status == 200  # and the gateway has forgotten them
    assert [scene.chat(f"falcon lands {n}").status for n in range(30)] == [200] * 30
    assert (windows.asked, scene.reviews()) == (0, [])
