"""ApplyGuardrail over HTTP, against the local Bedrock on good days and bad ones."""

from typing import Any

import pytest

from chalicelib.dialects.apply_guardrail import Unanswered, Verdict
from chalicelib.engines.transport.bounds import monotonic_ms
from chalicelib.pool import BedrockGuardrail
from tests.engines.bedrocks import Clocks, LocalBedrock, Vault, sandbox
from tests.patience import PATIENCE_S

ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/demo"
OFFERED = BedrockGuardrail("demo", ARN, "1")
RULES = {
    "id": "demo",
    "version": "1",
    "words": ["rosebud"],
    "pii": [{"type": "EMAIL"}],
}
LONG_MS = round(PATIENCE_S * 1_000)
SHORT_MS = 300


@pytest.fixture
def guarded(bedrock: LocalBedrock) -> LocalBedrock:
    bedrock.do("guard", guardrail=RULES)
    return bedrock


def apply(
    *texts: str,
    offered: BedrockGuardrail = OFFERED,
    vault: Vault | None = None,
    deadline_ms: int = LONG_MS,
    clocks: Clocks | None = None,
) -> Verdict:
    return sandbox(vault, clocks=clocks).apply_guardrail(offered, "INPUT", texts, deadline_ms)


def test_it_says_what_passes_what_is_masked_and_what_is_blocked(guarded: LocalBedrock) -> None:
    assert apply("hello").kind == "passed"
    masked = apply("to ann@example.org", "and hello")
    assert (masked.kind, masked.texts) == ("masked", ("to {EMAIL}", "and hello"))
    assert masked.matches == ("ann@example.org",)
    assert masked.units == {"word": 2, "sensitiveInformation": 2}
    assert apply("Rosebud").kind == "blocked"
    assert [(call["operation"], call["called_by"]) for call in guarded.calls()] == [("ApplyGuardrail", ARN)] * 3


def test_a_secret_may_hold_who_asks(guarded: LocalBedrock) -> None:
    vault = Vault(key={"bedrock_api_key": guarded.bearer})
    assert apply("hello", offered=BedrockGuardrail("demo", ARN, "1", "key"), vault=vault).kind == "passed"
    assert [call["key"] for call in guarded.calls()] == ["bearer"]
    with pytest.raises(Unanswered):
        apply("hello", offered=BedrockGuardrail("demo", ARN, "1", "gone"), vault=vault)


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalServerException", "ServiceUnavailableException"])
def test_what_passes_is_asked_again_within_the_deadline(guarded: LocalBedrock, error: str) -> None:
    guarded.do("fail", error=error, times=2)
    assert apply("hello", clocks=Clocks()).kind == "passed"
    guarded.do("fail", error=error, times=None)
    with pytest.raises(Unanswered, match=error):
        apply("hello", clocks=Clocks())


@pytest.mark.parametrize(
    ("offered", "symptom"),
    [
        (BedrockGuardrail("demo", ARN, "2"), "ResourceNotFoundException"),
        (BedrockGuardrail("demo", ARN.replace("123456789012", "999999999999"), "1"), "AccessDeniedException"),
    ],
)
def test_what_stays_wrong_is_told_to_operators_as_aws_calls_it(
    guarded: LocalBedrock, offered: BedrockGuardrail, symptom: str
) -> None:
    with pytest.raises(Unanswered, match=symptom):
        apply("hello", offered=offered)
    assert len(guarded.calls()) == 1


def test_texts_that_are_too_long_for_it_are_no_verdict(guarded: LocalBedrock) -> None:
    with pytest.raises(Unanswered, match="ServiceQuotaExceededException"):
        apply("x" * 25_001, clocks=Clocks())


def test_who_is_silent_is_waited_for_until_the_deadline_and_no_longer(guarded: LocalBedrock) -> None:
    guarded.do("stall", operation="ApplyGuardrail")
    began_ms = monotonic_ms()
    with pytest.raises(Unanswered, match="silent"):
        apply("hello", deadline_ms=SHORT_MS)
    assert monotonic_ms() - began_ms >= SHORT_MS
    assert len(guarded.calls()) == 1, "a call that took all of the time is not repeated"


def test_a_verdict_whose_connection_is_lost_is_none(guarded: LocalBedrock) -> None:
    guarded.do("cut", operation="ApplyGuardrail")
    with pytest.raises(Unanswered, match="cut"):
        apply("hello")
    assert apply("hello").kind == "passed"


def test_nobody_there_is_no_verdict(guarded: LocalBedrock, monkeypatch: Any) -> None:
    assert guarded
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:1")
    with pytest.raises(Unanswered, match="unreachable"):
        apply("hello")
