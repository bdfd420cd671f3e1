"""What operators hear of targets that fail: once at each change, in every sandbox; and healthy calls pay nothing."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from chalicelib.call import Call
from chalicelib.documents import Document
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.engines.scripted import ScriptedEngine, Step, words
from chalicelib.placement import Placement, TargetState
from chalicelib.placement.failure import BreakerState
from chalicelib.placement.health import Health
from chalicelib.placement.watch import StoredWatch
from chalicelib.pool import Bedrock, Capacity, Pool, Scripted, Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal, StoreUnavailable
from chalicelib.settings import Settings
from chalicelib.sight.lines import Lines
from tests.patience import until

PAUSE_MS = 10_000
T0 = 1_795_000_000_000
CALL = Call("req-1", "chat.completions", "chat", {"messages": msgspec.Raw(b"[]")}, True, 4, 16, 1, "tag-1")
HELLO = words("hello there")
GONE = EngineFailed("The model could not be reached.", symptom="ECONNREFUSED")
LOST = EngineFailed("The model failed.", symptom="http 404 model_not_found")


class CountingDocuments(MemoryDocuments):
    """Memory that counts what is asked of it, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.away = False

    def get(self, tenant: str, name: str) -> Document | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return super().get(tenant, name)


class Sandbox:
    """One of those that share `documents`, and a pool of the scripted targets `a` and `b`."""

    def __init__(self, documents: CountingDocuments, *targets: Target) -> None:
        self.script: dict[str, Iterable[Step]] = {"a": HELLO, "b": HELLO}
        self.probed: Capacity | Refusal = Capacity(4, 1, 0)
        self.now_ms = T0
        engine = ScriptedEngine(lambda target, _: self.script[target.name], lambda _: self.probed)
        engines = {"scripted": engine, "bedrock": engine}
        self.pool = Pool("chat", targets or (Scripted("a"), Scripted("b", weight=0)))
        health = Health(
            Settings(breaker_failures=3, breaker_pause_ms=PAUSE_MS),
            StoredWatch(documents, Lines()),
        )
        self.placement = Placement(engines, health, lambda: self.now_ms, patience_ms=30_000)

    def run(self, times: int = 1, call: Call = CALL) -> str:
        """Whole calls; who answered the last one, or its refusal."""
        answered = ""
        for _ in range(times):
            try:
                target, stream, _ = self.placement.place(self.pool, None, call)
            except Refusal as refusal:
                answered = type(refusal).__name__
                continue
            try:
                answered = target.name
                list(stream)
            except Refusal:
                pass
            finally:
                stream.close()
        return answered

    @property
    def first(self) -> TargetState:
        return self.placement.states(self.pool)[0]

    def seen(self) -> BreakerState | None:
        return self.first.breaker


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged since they were read last, without the members that make them metrics."""
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{name: value for name, value in line.items() if name != "_aws"} for line in found]


def opened(why: EngineFailed, held_back: str = "one_tenant") -> dict[str, Any]:
    told = {"cause": why.text, "symptom": why.symptom, "model": "", "held_back": held_back}
    return {"BreakerOpened": 1, "target": "a", "engine": "scripted", "pool": "chat", **told}


CLOSED = {"BreakerClosed": 1, "target": "a", "engine": "scripted", "pool": "chat"}


def test_why_a_breaker_opens_is_logged_once_and_that_it_closes(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox(CountingDocuments())
    sandbox.script["a"] = (GONE,)
    sandbox.run(2)
    assert lines(capsys) == []
    sandbox.run(20)
    assert lines(capsys) == [opened(GONE)]
    for _ in range(3):
        sandbox.now_ms += PAUSE_MS
        sandbox.run(5)
    assert lines(capsys) == [], "the same again is nothing new"
    sandbox.now_ms += PAUSE_MS
    sandbox.script["a"] = HELLO
    assert sandbox.run(5) == "a"
    assert lines(capsys) == [CLOSED]


def test_another_cause_is_logged_though_the_breaker_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox(CountingDocuments())
    sandbox.script["a"] = (GONE,)
    sandbox.run(5)
    sandbox.now_ms += PAUSE_MS
    sandbox.script["a"] = (LOST,)
    sandbox.run(5)
    assert lines(capsys) == [opened(GONE), opened(LOST)]


def test_one_that_dies_in_the_middle_of_its_answers_is_logged_too(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox(CountingDocuments())
    sandbox.script["a"] = (*HELLO[:2], GONE)
    sandbox.run(5)
    assert lines(capsys) == [opened(GONE)]


def test_that_a_second_tenants_calls_fail_is_logged_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    documents = CountingDocuments()
    sandbox = Sandbox(documents)
    sandbox.script["a"] = (GONE,)
    sandbox.run(5)
    sandbox.run(5, msgspec.structs.replace(CALL, tenant_tag="tag-2"))
    sandbox.run(5)
    assert lines(capsys) == [opened(GONE), opened(GONE, "everybody")]
    state = until(Sandbox(documents).seen, lambda seen: seen is not None and seen.whom == "everybody")
    assert state is not None and state.phase(T0) == "open"


def test_every_sandbox_can_tell_how_a_target_stands_and_why() -> None:
    documents = CountingDocuments()
    calls, doors = Sandbox(documents), Sandbox(documents)
    assert doors.seen() is None
    calls.script["a"] = (GONE,)
    calls.run(3)
    state = until(doors.seen, lambda seen: seen is not None and seen.retry_at_ms is not None)
    assert state is not None and state.failure is not None
    assert [state.phase(at) for at in (T0, T0 + PAUSE_MS - 1, T0 + PAUSE_MS)] == ["open", "open", "half_open"]
    assert (state.failure.at_ms, state.failure.cause) == (T0, GONE.text)
    assert state.failure.symptom == "ECONNREFUSED"
    calls.now_ms += PAUSE_MS
    calls.script["a"] = HELLO
    calls.run()
    state = until(doors.seen, lambda seen: seen is not None and seen.retry_at_ms is None)
    assert state is not None and state.phase(calls.now_ms) == "closed"
    assert state.failure is not None and state.failure.at_ms == T0, "what it failed of is known still"


def test_a_single_failure_is_known_though_no_breaker_opens(capsys: pytest.CaptureFixture[str]) -> None:
    documents = CountingDocuments()
    calls, doors = Sandbox(documents), Sandbox(documents)
    calls.script["a"] = (EngineTimedOut("The model did not answer in time."),)
    calls.run()
    state = until(doors.seen, lambda seen: seen is not None)
    assert state is not None and state.phase(T0) == "closed"
    assert state.failure is not None and state.failure.cause == "The model did not answer in time."
    assert lines(capsys) == []


def test_a_store_that_is_away_costs_no_call_anything() -> None:
    documents = CountingDocuments()
    documents.away = True
    sandbox = Sandbox(documents)
    sandbox.script["a"] = (GONE,)
    assert sandbox.run(5) == "b"
    until(lambda: documents.asked > 0)
    documents.away = False
    sandbox.now_ms += PAUSE_MS
    sandbox.run()
    other = Sandbox(documents)
    assert until(other.seen, lambda seen: seen is not None) is not None


def test_calls_that_are_well_ask_nothing_of_the_store_and_log_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    documents = CountingDocuments()
    sandbox = Sandbox(documents)
    sandbox.run(5)
    for harmless in (Malformed("bad seed"), NoCapacity("full")):
        sandbox.script["a"] = (harmless,)
        sandbox.run(5)
    assert (documents.asked, lines(capsys)) == (0, [])


def test_that_no_target_ran_a_call_names_the_pool_and_not_for_every_call(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox(CountingDocuments())
    sandbox.script["a"] = sandbox.script["b"] = (GONE,)
    assert sandbox.run(2) == "NoCapacity"
    told = {"NoTarget": 1, "pool": "chat", "cause": GONE.text, "symptom": "ECONNREFUSED"}
    assert lines(capsys) == [told]
    sandbox.run(9)
    assert [line for line in lines(capsys) if "NoTarget" in line] == []
    sandbox.now_ms += PAUSE_MS - 1
    sandbox.run(3)
    assert lines(capsys) == []
    sandbox.now_ms += PAUSE_MS
    sandbox.pool = Pool("empty", ())
    sandbox.run()
    assert lines(capsys) == [{"NoTarget": 1, "pool": "empty", "cause": "No target may be tried."}]


@pytest.mark.parametrize(("model", "shown"), [("anthropic.claude-sonnet-4-20250514-v1:0", True), ("my secret", False)])
def test_of_a_model_that_a_caller_names_only_an_id_is_told(
    capsys: pytest.CaptureFixture[str], model: str, shown: bool
) -> None:
    sandbox = Sandbox(CountingDocuments(), Bedrock("a", region="us-east-1"))
    sandbox.script["a"] = (LOST,)
    sandbox.run(3, msgspec.structs.replace(CALL, model_id=model))
    state = sandbox.seen()
    assert state is not None and state.failure is not None
    assert state.failure.model == (model if shown else "")
    assert (model in capsys.readouterr().out) == shown


@pytest.mark.parametrize("symptom", ["a\nline", "x" * 81, 'quotes "this"'])
def test_a_symptom_that_is_no_code_is_not_told(capsys: pytest.CaptureFixture[str], symptom: str) -> None:
    sandbox = Sandbox(CountingDocuments())
    sandbox.script["a"] = (EngineFailed("The model failed.", symptom=symptom),)
    sandbox.run(3)
    assert [line["symptom"] for line in lines(capsys)] == [""]


def test_a_probe_that_fails_says_why() -> None:
    sandbox = Sandbox(CountingDocuments())
    probe = sandbox.first.probe
    assert probe is not None and probe.capacity == Capacity(4, 1, 0) and probe.failure is None
    assert probe.latency_ms is not None
    sandbox.now_ms += 60_000
    sandbox.probed = LOST
    probe = sandbox.first.probe
    assert probe is not None and probe.capacity is None and probe.failure is not None
    assert (probe.failure.symptom, probe.failure.at_ms) == ("http 404 model_not_found", sandbox.now_ms)
