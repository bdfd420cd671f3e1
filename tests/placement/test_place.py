"""Placement over scripted engines, and what it leaves behind in Health."""

import threading
from collections.abc import Iterable

import msgspec
import pytest

from chalicelib.call import Call, Finished, Started
from chalicelib.engines.scripted import ScriptedEngine, Step, words
from chalicelib.placement import PlacedCall, Placement
from chalicelib.placement.health import Health
from chalicelib.pool import Bedrock, Capacity, Pool, Scripted, Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal, TooLarge
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S, until

PAUSE_MS = 10_000
HELLO = words("hello there")
DIED = EngineFailed("died")
AWAY = EngineFailed("away", unsent=True)
CALL = Call("req-1", "chat.completions", "model-a", {"messages": msgspec.Raw(b"[]")}, True, 4, 16, 1, "tag-1")


class Sandbox:
    """A pool of scripted targets `a`, `b`, `c`, whose scripts a test may change at any time."""

    def __init__(self, **scripts: Iterable[Step]) -> None:
        self.scripts = scripts
        self.tried: list[str] = []
        self.now_ms = 1_000_000
        self.engine = ScriptedEngine(self._script)
        self.pool = Pool("model-a", tuple(Scripted(name, weight=0) for name in scripts))
        self.engines = {"scripted": self.engine}
        self.health = Health(Settings(breaker_failures=3, breaker_pause_ms=PAUSE_MS))

    def _script(self, target: Target, _: Call) -> Iterable[Step]:
        self.tried.append(target.name)
        return self.scripts[target.name]

    @property
    def placement(self) -> Placement:
        return Placement(self.engines, self.health, lambda: self.now_ms, patience_ms=30_000, draw=lambda: 0.0)

    def place(self, pin: str | None = None, tenant: str = "tag-1") -> PlacedCall:
        return self.placement.place(self.pool, pin, msgspec.structs.replace(CALL, tenant_tag=tenant))

    def run(self, pin: str | None = None, tenant: str = "tag-1") -> str:
        """A whole call; which target answered it, or the class of the refusal."""
        try:
            target, stream, _ = self.place(pin, tenant)
        except Refusal as refusal:
            return type(refusal).__name__
        try:
            *_, last = stream
            assert isinstance(last, Finished)
        except Refusal as refusal:
            return f"{target.name} {type(refusal).__name__}"
        finally:
            stream.close()
        return target.name

    @property
    def at_rest(self) -> bool:
        return self.engine.running == 0 and not any(
            self.health.in_flight(target.place()) for target in self.pool.targets
        )


def refused(sandbox: Sandbox, pin: str | None = None) -> NoCapacity:
    with pytest.raises(NoCapacity) as caught:
        sandbox.place(pin)
    return caught.value


def test_the_first_event_and_what_follows_are_the_whole_answer() -> None:
    sandbox = Sandbox(a=HELLO)
    target, stream, first = sandbox.place()
    assert (target.name, (first, *stream)) == ("a", HELLO)
    assert sandbox.health.in_flight(target.place()) == 1
    stream.close()
    stream.close()
    assert sandbox.at_rest


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param((DIED,), id="refused"),
        pytest.param((EngineTimedOut("silent"),), id="silent"),
        pytest.param((NoCapacity("full"),), id="full"),
        pytest.param((), id="ended without an event"),
    ],
)
def test_a_failure_before_the_first_event_falls_over_to_the_next(failing: tuple[Step, ...]) -> None:
    sandbox = Sandbox(a=failing, b=failing, c=HELLO)
    assert (sandbox.run(), sandbox.tried, sandbox.at_rest) == ("c", ["a", "b", "c"], True)


def test_a_stream_that_breaks_before_its_first_event_falls_over_and_is_closed() -> None:
    open_gate = threading.Event()
    open_gate.set()
    sandbox = Sandbox(a=(open_gate, DIED), b=HELLO)
    assert (sandbox.run(), sandbox.tried, sandbox.at_rest) == ("b", ["a", "b"], True)


def test_after_the_first_event_nothing_falls_over() -> None:
    sandbox = Sandbox(a=(*HELLO[:2], DIED), b=HELLO)
    assert (sandbox.run(), sandbox.tried, sandbox.at_rest) == ("a EngineFailed", ["a"], True)


@pytest.mark.parametrize("complaint", [Malformed("bad seed"), TooLarge("too long")])
def test_a_complaint_about_the_request_is_final_and_a_sign_of_health(complaint: Refusal) -> None:
    sandbox = Sandbox(a=(DIED,), b=HELLO)
    sandbox.run()
    sandbox.run()
    sandbox.scripts["a"] = (complaint,)
    sandbox.tried.clear()
    assert (sandbox.run(), sandbox.tried) == (type(complaint).__name__, ["a"])
    sandbox.scripts["a"] = (DIED,)
    assert [sandbox.run(), sandbox.run()] == ["b", "b"]
    assert sandbox.tried == ["a", "a", "b", "a", "b"], "the count had started anew"
    assert sandbox.at_rest


def test_a_target_that_keeps_failing_is_left_alone_until_one_call_may_try_it() -> None:
    sandbox = Sandbox(a=(DIED,), b=HELLO)
    assert [sandbox.run() for _ in range(5)] == ["b"] * 5
    assert sandbox.tried.count("a") == 3
    sandbox.now_ms += PAUSE_MS
    assert (sandbox.run(), sandbox.tried.count("a")) == ("b", 4)
    assert (sandbox.run(), sandbox.tried.count("a")) == ("b", 4)
    sandbox.now_ms += PAUSE_MS
    sandbox.scripts["a"] = HELLO
    assert [sandbox.run() for _ in range(3)] == ["a"] * 3


def test_what_fails_for_one_tenant_alone_is_left_alone_by_that_tenant_alone() -> None:
    sandbox = Sandbox(a=(EngineTimedOut("silent"),), b=HELLO)
    assert [sandbox.run() for _ in range(9)] == ["b"] * 9
    assert sandbox.tried.count("a") == 3
    sandbox.scripts["a"] = HELLO
    assert [sandbox.run(tenant="tag-2"), sandbox.run()] == ["a", "b"]
    sandbox.now_ms += PAUSE_MS
    assert sandbox.run() == "a"


def test_what_fails_for_two_tenants_is_left_alone_by_all() -> None:
    sandbox = Sandbox(a=(DIED,), b=HELLO)
    assert [sandbox.run(tenant=each) for each in ("tag-1", "tag-1", "tag-2")] == ["b"] * 3
    assert (sandbox.run(tenant="tag-3"), sandbox.tried.count("a")) == ("b", 3)


def test_a_target_that_cannot_be_reached_is_left_alone_by_all_whoever_found_out() -> None:
    sandbox = Sandbox(a=(AWAY,), b=HELLO)
    assert [sandbox.run() for _ in range(3)] == ["b"] * 3
    assert (sandbox.run(tenant="tag-2"), sandbox.tried.count("a")) == ("b", 3)


@pytest.mark.parametrize("well", [True, False])
def test_a_probe_that_fails_bears_out_what_one_tenant_met(well: bool) -> None:
    sandbox = Sandbox(a=(DIED,), b=HELLO)
    probed = Capacity(1, 0, 0) if well else EngineFailed("died")
    sandbox.engines["scripted"] = ScriptedEngine(sandbox._script, lambda _: probed)
    for _ in range(3):
        sandbox.run()
    sandbox.placement.look([sandbox.pool])
    sandbox.tried.clear()
    assert (sandbox.run(tenant="tag-2"), sandbox.tried) == ("b", ["a", "b"] if well else ["b"])


def test_a_target_that_dies_in_the_middle_of_every_answer_is_left_alone_too() -> None:
    sandbox = Sandbox(a=(*HELLO[:2], DIED), b=HELLO)
    assert [sandbox.run() for _ in range(4)] == ["a EngineFailed"] * 3 + ["b"]


def test_on_trial_a_target_gets_one_call_and_the_others_go_elsewhere() -> None:
    sandbox = Sandbox(a=(DIED,), b=HELLO)
    for _ in range(3):
        sandbox.run()
    sandbox.now_ms += PAUSE_MS
    gate = threading.Event()
    sandbox.scripts["a"] = (gate, *HELLO)
    results: list[str] = []
    trial = threading.Thread(target=lambda: results.append(sandbox.run()))
    tried_before = sandbox.engine.opened
    trial.start()
    until(lambda: sandbox.engine.opened > tried_before)
    assert sandbox.run() == "b", "while the trial waits for its first event"
    gate.set()
    trial.join(PATIENCE_S)
    assert results == ["a"]
    assert sandbox.run() == "a"
    assert sandbox.at_rest


def test_a_full_target_is_not_a_broken_one() -> None:
    sandbox = Sandbox(a=(NoCapacity("full"),), b=HELLO)
    assert [sandbox.run() for _ in range(6)] == ["b"] * 6
    assert sandbox.tried.count("a") == 6


def test_no_capacity_anywhere_says_when_to_come_back() -> None:
    sandbox = Sandbox(a=(NoCapacity("full", retry_in_ms=7_000),), b=(NoCapacity("full", retry_in_ms=3_000),))
    refusal = refused(sandbox)
    assert (refusal.text, refusal.retry_in_ms) == ("full", 3_000)


def test_a_target_at_zero_opens_no_breaker_and_says_itself_when_to_come_back() -> None:
    at_zero = NoCapacity("no copy runs", retry_in_ms=120_000)
    sandbox = Sandbox(a=(DIED,))
    for _ in range(3):
        sandbox.run()
    sandbox.now_ms += PAUSE_MS
    sandbox.scripts["a"] = (at_zero,)
    for _ in range(6):
        refusal = refused(sandbox)
        assert (refusal.text, refusal.retry_in_ms) == ("no copy runs", 120_000), "though its breaker is half open"
    sandbox.scripts["a"] = HELLO
    assert sandbox.run() == "a", "whoever waited finds it"


@pytest.mark.parametrize("other", [NoCapacity("full"), DIED])
def test_a_wait_that_one_target_needs_is_not_the_callers_where_another_may_be_tried_sooner(other: Refusal) -> None:
    at_zero = NoCapacity("no copy runs", retry_in_ms=120_000)
    assert refused(Sandbox(a=(at_zero,), b=(other,))).retry_in_ms == 1_000
    assert refused(Sandbox(a=(at_zero,))).retry_in_ms == 120_000


def test_all_breakers_open_say_when_the_first_of_them_lets_a_call_try() -> None:
    sandbox = Sandbox(a=(DIED,), b=(DIED,))
    assert refused(sandbox).retry_in_ms == 1_000, "not open yet"
    sandbox.run()
    sandbox.run()
    sandbox.now_ms += 4_000
    sandbox.tried.clear()
    assert refused(sandbox).retry_in_ms == PAUSE_MS - 4_000
    assert sandbox.tried == []


def test_a_pool_without_targets_has_no_capacity() -> None:
    assert refused(Sandbox()).retry_in_ms == 1_000


def test_a_pinned_call_never_runs_elsewhere() -> None:
    sandbox = Sandbox(a=HELLO, b=(DIED,))
    assert sandbox.run("b") == "NoCapacity"
    assert sandbox.tried == ["b"]
    assert sandbox.run("gone") == "NoCapacity"


def test_a_caller_that_leaves_is_no_failure_of_the_target() -> None:
    sandbox = Sandbox(a=(Started("i-1"), threading.Event(), *HELLO[1:]), b=HELLO)
    for _ in range(4):
        target, stream, _ = sandbox.place()
        woken = threading.Event()

        def read(stream: Iterable[object] = stream, woken: threading.Event = woken) -> None:
            with pytest.raises(EngineFailed):
                list(stream)
            woken.set()

        threading.Thread(target=read, daemon=True).start()
        stream.close()
        assert woken.wait(PATIENCE_S)
        assert target.name == "a"
    assert sandbox.at_rest
    assert sandbox.health.admits(target.place(), CALL.tenant_tag, sandbox.now_ms)


@pytest.mark.parametrize("engine", ["unknown", "faulty"])
def test_a_fault_of_ours_leaves_nothing_behind(engine: str) -> None:
    def faulty(_: Target, __: Call) -> Iterable[Step]:
        raise KeyError("a bug")

    sandbox = Sandbox(a=HELLO)
    sandbox.engines = {} if engine == "unknown" else {"scripted": ScriptedEngine(faulty)}
    with pytest.raises(KeyError):
        sandbox.place()
    assert sandbox.at_rest


def test_who_has_waited_too_long_for_one_target_does_not_wait_for_another() -> None:
    sandbox = Sandbox(a=(), b=HELLO)

    def silent(_: Target, __: Call) -> Iterable[Step]:
        sandbox.now_ms += 60_000
        return (EngineTimedOut("silent"),)

    sandbox.engines["scripted"] = ScriptedEngine(silent)
    assert sandbox.run() == "EngineTimedOut"
    assert sandbox.tried == []


def test_pools_that_share_a_place_share_its_fate() -> None:
    sandbox = Sandbox(a=(DIED,), b=HELLO)
    for _ in range(3):
        sandbox.run()
    sandbox.pool = Pool("model-b", sandbox.pool.targets)
    sandbox.tried.clear()
    assert (sandbox.run(), sandbox.tried) == ("b", ["b"])


def test_a_model_that_fails_does_not_close_its_region_to_the_others() -> None:
    def says(_: Target, call: Call) -> Iterable[Step]:
        return (DIED,) if call.model_id == "broken" else HELLO

    engines = {"bedrock": ScriptedEngine(says)}
    health = Health(Settings(breaker_failures=3, breaker_pause_ms=PAUSE_MS))
    placement = Placement(engines, health, lambda: 1_000_000, patience_ms=30_000)

    def run(model: str, pool: str) -> str:
        call = msgspec.structs.replace(CALL, model_id=model)
        target = Bedrock(f"in-{pool}", region="us-east-1")
        try:
            placed = placement.place(Pool(pool, (target,)), None, call)
        except NoCapacity:
            return "NoCapacity"
        placed.stream.close()
        return placed.target.name

    for _ in range(3):
        assert run("broken", "a") == "NoCapacity"
    opened = engines["bedrock"].opened
    assert run("broken", "b") == "NoCapacity"  # the same model in the same region, whatever the pool
    assert engines["bedrock"].opened == opened
    assert run("sound", "a") == "in-a"
