"""Guardrails: by themselves, and in invocations."""

from typing import Any

import pytest

from tests.emulators.bedrock.served import Served, anthropic, refused, said

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
