"""Guardrails: by themselves, and in invocations."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.emulators.bedrock.served import ROOT, Served, anthropic, refused, said, served

GUARDRAIL = {"guardrailIdentifier": "gr1", "guardrailVersion": "DRAFT"}


@pytest.fixture
def guarded(bedrock: Served) -> Served:
    bedrock.command(
        "guard",
        guardrail={"id": "gr1", "words": ["secret"], "blocked_input": "Not in.", "blocked_output": "Not out."},
    )
    return bedrock


def test_a_guardrail_says_what_it_found(guarded: Served) -> None:
    def apply(text: str, source: str) -> Any:
        return guarded.runtime.apply_guardrail(**GUARDRAIL, source=source, content=[{"text": {"text": text}}])

    blocked = apply("my Secret", "INPUT")
    assert (blocked["action"], blocked["outputs"]) == ("GUARDRAIL_INTERVENED", [{"text": "Not in."}])
    assert blocked["assessments"][0]["wordPolicy"]["customWords"][0]["match"] == "secret"
    assert apply("my secret", "OUTPUT")["outputs"] == [{"text": "Not out."}]
    assert (apply("hello", "INPUT")["action"], apply("hello", "INPUT")["outputs"]) == ("NONE", [])


def test_what_a_guardrail_blocks_is_not_answered(guarded: Served) -> None:
    answer = guarded.converse("tell a secret", guardrailConfig=GUARDRAIL | {"trace": "enabled"})

    assert answer["stopReason"] == "guardrail_intervened"
    assert answer["output"]["message"]["content"] == [{"text": "Not in."}]
    assert answer["usage"]["totalTokens"] == 0
    assert "gr1" in answer["trace"]["guardrail"]["inputAssessment"]


def test_what_the_model_may_not_say_does_not_get_out(guarded: Served) -> None:
    guarded.command("say", blocks=[{"text": "the secret is"}], times=2)
    answer = guarded.converse(guardrailConfig=GUARDRAIL | {"trace": "enabled"})
    events = list(guarded.converse_stream(guardrailConfig=GUARDRAIL | {"trace": "enabled"}))

    assert answer["output"]["message"]["content"] == [{"text": "Not out."}]
    assert "gr1" in answer["trace"]["guardrail"]["outputAssessments"]
    assert said(events) == "Not out."
    assert "outputAssessments" in events[-1]["metadata"]["trace"]["guardrail"]


def test_a_guarded_invocation_says_whether_it_was_blocked(guarded: Served) -> None:
    assert guarded.invoke(anthropic("tell a secret"), **GUARDRAIL)["amazon-bedrock-guardrailAction"] == "INTERVENED"
    assert guarded.invoke(anthropic("hello"), **GUARDRAIL)["amazon-bedrock-guardrailAction"] == "NONE"
    assert "amazon-bedrock-guardrailAction" not in guarded.invoke(anthropic("tell a secret"))


def test_a_guardrail_that_is_not_there_is_refused(bedrock: Served) -> None:
    with refused("ValidationException", "The guardrail identifier or version provided in the request does not exist."):
        bedrock.converse(guardrailConfig=GUARDRAIL)
    with refused("ResourceNotFoundException"):
        bedrock.runtime.apply_guardrail(**GUARDRAIL, source="INPUT", content=[{"text": {"text": "x"}}])


PAGE = (ROOT / "docs" / "local-bedrock.md").read_text()
DEMO = msgspec.json.decode(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/demo"


def apply(runtime: Any, *texts: str, source: str = "INPUT", guardrail: str = "demo", version: str = "1") -> Any:
    return runtime.apply_guardrail(
        guardrailIdentifier=guardrail,
        guardrailVersion=version,
        source=source,
        content=[{"text": {"text": text}} for text in texts],
    )


@pytest.fixture
def demo(bedrock: Served) -> Served:
    """It has the guardrail of its page."""
    bedrock.command("guard", guardrail=DEMO)
    return bedrock


def test_sensitive_information_is_masked_in_each_text(demo: Served) -> None:
    answer = apply(demo.runtime, "to ann@example.org", "nothing", "id-1234 and id-5678", source="OUTPUT", guardrail=ARN)

    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert answer["outputs"] == [{"text": "to {EMAIL}"}, {"text": "nothing"}, {"text": "{badge} and {badge}"}]
    told = answer["assessments"][0]["sensitiveInformationPolicy"]
    assert [(each["type"], each["match"], each["action"]) for each in told["piiEntities"]] == [
        ("EMAIL", "ann@example.org", "ANONYMIZED")
    ]
    assert [(each["name"], each["match"]) for each in told["regexes"]] == [("badge", "id-1234"), ("badge", "id-5678")]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("the Project Falcon", "topicPolicy"),
        ("rosebud", "wordPolicy"),
        ("078-05-1120 of ann@example.org", "sensitiveInformationPolicy"),
    ],
)
def test_what_blocks_gives_one_text_whatever_else_is_masked(demo: Served, text: str, policy: str) -> None:
    answer = apply(demo.runtime, text, "and more", source="OUTPUT")

    assert (answer["action"], answer["outputs"]) == ("GUARDRAIL_INTERVENED", [{"text": "Not out."}])
    assert "BLOCKED" in str(answer["assessments"][0][policy])


def test_units_are_told_by_policy_and_bounded(demo: Served) -> None:
    usage = apply(demo.runtime, "x" * 1_001, "y")["usage"]

    assert (usage["wordPolicyUnits"], usage["topicPolicyUnits"], usage["sensitiveInformationPolicyUnits"]) == (3, 3, 3)
    assert usage["contentPolicyUnits"] == 0
    assert apply(demo.runtime, "x" * 25_000)["action"] == "NONE"
    with refused("ServiceQuotaExceededException", "26 text units"):
        apply(demo.runtime, "x" * 25_001)


def test_whose_guardrail_it_is_and_where_counts(demo: Served) -> None:
    with refused("AccessDeniedException"):
        apply(demo.runtime, "x", guardrail=ARN.replace("123456789012", "999999999999"))
    with refused("ResourceNotFoundException"):
        apply(demo.client(region="us-west-2"), "x", guardrail=ARN)
    with refused("ResourceNotFoundException"):
        apply(demo.runtime, "x", version="2")
    with refused("ValidationException", "identifier or version"):
        apply(demo.runtime, "x", guardrail="arn:aws:s3:::bucket")


def test_a_body_that_botocore_would_not_send_is_told_what_is_wrong(demo: Served) -> None:
    lax = demo.client()
    lax.meta.events.register(
        "before-sign.bedrock-runtime.ApplyGuardrail",
        lambda request, **_: setattr(request, "data", b'{"source": "BOTH", "content": [{"text": {"text": 3}}]}'),
    )
    with refused("ValidationException", "Member must satisfy enum value set: [INPUT, OUTPUT]"):
        apply(lax, "x")


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalServerException", "ServiceUnavailableException"])
def test_it_fails_on_command(demo: Served, error: str) -> None:
    demo.command("fail", error=error, operation="ApplyGuardrail", model=ARN)

    assert apply(demo.runtime, "x")["action"] == "NONE"
    with refused(error):
        apply(demo.runtime, "x", guardrail=ARN)
    assert [call["called_by"] for call in demo.calls()] == ["demo", ARN]


def test_a_guarded_answer_is_masked(demo: Served) -> None:
    demo.command("say", blocks=[{"text": "ask ann@example.org, or bob@example.org"}])
    answer = demo.converse(guardrailConfig={"guardrailIdentifier": ARN, "guardrailVersion": "1"})

    assert answer["output"]["message"]["content"] == [{"text": "ask {EMAIL}, or {EMAIL}"}]
    assert answer["stopReason"] == "end_turn"


def test_guardrails_of_the_start_are_there_after_a_reset(tmp_path: Path) -> None:
    file = tmp_path / "guardrails.json"
    file.write_bytes(msgspec.json.encode({"guardrails": [DEMO]}))
    with served("--guardrails", str(file)) as running:
        running.command("guard", guardrail={"id": "other"})
        running.command("reset")
        assert apply(running.runtime, "rosebud")["outputs"] == [{"text": "Not in."}]
        with refused("ResourceNotFoundException"):
            apply(running.runtime, "x", guardrail="other", version="DRAFT")
