"""Streams that wait for a second stage hold up their own tenant's, and nobody else's."""

import threading
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from chalicelib.admission.limits import DEFAULT_LIMITS
from chalicelib.dialects.apply_guardrail import Source, Verdict
from chalicelib.engines.scripted import words
from chalicelib.guardrails.stage import PASSED
from chalicelib.http.bridge import ASIDE, LENGTHY
from chalicelib.inference.answer import CLIENT_LEFT
from chalicelib.pool import BedrockGuardrail
from chalicelib.tenancy.guardrails import SecondStage
from guard import Rules
from tests.api.test_leaving import Client, Front, eventually, play
from tests.patience import PATIENCE_S

MANY = msgspec.structs.replace(DEFAULT_LIMITS, in_flight=1_000)
ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/a1b2"


class Slow:
    """A guardrail that answers of an answer once it may."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0
        self._lock = threading.Lock()

    def __call__(self, guardrail: BedrockGuardrail, source: Source, texts: Sequence[str], deadline_ms: int) -> Verdict:
        if source == "OUTPUT":
            with self._lock:
                self.asked += 1
            self.gate.wait(PATIENCE_S)
        return PASSED


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.gate.set()  # whatever came of it: nothing ends while its threads wait


def judged_by(slow: Slow, front: Front) -> None:
    tenancy = front.deployment.tenancy
    tenancy.offered_guardrails.put("acme", [BedrockGuardrail("pii", ARN, "3")], "us-east-1")
    tenancy.guardrails.put("acme", Rules(), SecondStage("pii"))
    front.deployment.apply_guardrail = slow


def test_whose_guardrail_is_slow_leaves_threads_for_others_and_for_every_settlement(slow: Slow) -> None:
    front = Front(*words("fine"), limits=MANY)
    front.deployment.tenant("bolt")
    judged_by(slow, front)
    others = {"authorization": f"Bearer {front.deployment.key('bolt')}"}

    async def scene() -> None:
        many = [Client(front) for _ in range(ASIDE + LENGTHY)]
        await eventually(lambda: slow.asked > ASIDE)
        other = Client(front, path="/tenants/bolt/v1/chat/completions", headers=others)
        await other.exchange
        assert other.ended and b"fine" in other.body
        assert slow.asked < LENGTHY
        slow.gate.set()
        for each in many:
            await each.exchange
            assert each.ended and b"fine" in each.body

    play(front, scene)


def test_whoever_leaves_while_waiting_to_be_judged_is_settled_at_once(slow: Slow) -> None:
    front = Front(*words("fine"), limits=MANY)
    judged_by(slow, front)

    async def scene() -> None:
        many = [Client(front) for _ in range(LENGTHY)]
        await eventually(lambda: slow.asked > ASIDE and all(each.status for each in many))
        for each in many:
            each.leave()
        await eventually(lambda: len(front.entries) == LENGTHY - slow.asked)
        slow.gate.set()
        for each in many:
            await each.exchange

    play(front, scene)
    assert {entry.reason for entry in front.entries} <= {CLIENT_LEFT, ""}
