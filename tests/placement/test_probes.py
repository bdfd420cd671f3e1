"""Targets are asked how they are: side by side, each place once, and none that would wake."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.engines.scripted import ScriptedEngine
from chalicelib.placement import Placement, probes
from chalicelib.placement.health import Health
from chalicelib.placement.report import Report
from chalicelib.pool import Capacity, Pool, SageMaker, Scripted, Target
from chalicelib.refusal import EngineFailed, Refusal
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S

A = Scripted("a", url="http://a/v1")
B = Scripted("b", url="http://b/v1")
HERE = 1_000

Probe = Callable[[Target], Capacity | Refusal]


def engines(probe: Probe) -> dict[str, ScriptedEngine]:
    return dict.fromkeys(("scripted", "sagemaker"), ScriptedEngine(lambda target, call: (), probe))


def ask(engines: Mapping[str, ScriptedEngine], targets: Mapping[str, Target], **how: Any) -> dict[str, Capacity | None]:
    """The capacities alone."""
    return {place: said.capacity for place, said in probes.probe(engines, targets, HERE, **how).items()}


def look(probe: Probe, *pools: Pool) -> Report:
    return Placement(engines(probe), Health(Settings()), lambda: HERE, patience_ms=30_000).look(pools).report


def test_each_place_is_asked_and_those_that_do_not_answer_are_none() -> None:
    unknown = SageMaker("x", endpoint="e")
    scripted = {
        "scripted": engines(lambda target: EngineFailed("down") if target is B else Capacity(4, 1, 0))["scripted"]
    }
    assert ask(scripted, {"a": A, "b": B, "x": unknown}) == {"a": Capacity(4, 1, 0), "b": None, "x": None}


def test_targets_are_asked_at_the_same_time() -> None:
    both_asked = threading.Barrier(2, timeout=PATIENCE_S)

    def probe(target: Target) -> Capacity | Refusal:
        both_asked.wait()
        return Capacity(1, 0, 0)

    assert list(ask(engines(probe), {"a": A, "b": B}).values()) == [Capacity(1, 0, 0)] * 2


def test_one_that_hangs_does_not_hold_the_others() -> None:
    never = threading.Event()

    def probe(target: Target) -> Capacity | Refusal:
        if target is A:
            never.wait(PATIENCE_S)
        return Capacity(1, 0, 0)

    assert list(ask(engines(probe), {"a": A, "b": B}, deadline_s=1.5).values()) == [None, Capacity(1, 0, 0)]
    never.set()


def test_however_many_there_are_so_many_are_asked_at_once() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def probe(target: Target) -> Capacity | Refusal:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return Capacity(1, 0, 0)

    targets: dict[str, Target] = {str(number): Scripted(str(number)) for number in range(3 * probes.AT_ONCE)}
    assert ask(engines(probe), targets) == dict.fromkeys(targets, Capacity(1, 0, 0))
    assert most <= probes.AT_ONCE


def test_a_look_asks_each_place_of_all_pools_once_and_counts_an_instance_once() -> None:
    asked: list[str] = []

    def probe(target: Target) -> Capacity | Refusal:
        asked.append(target.name)
        return EngineFailed("down") if target is B else Capacity(4, 1, 2, "i-1")

    other = Scripted("c", url="http://c/v1")
    report = look(probe, Pool("one", (A, B)), Pool("two", (Scripted("a", url=A.url, model="m"), other)))
    assert sorted(asked) == ["a", "b", "c"]
    assert report == Report(HERE, answering=1, failing=1, not_asked=0, total=4, available=3, queued=2)


def test_what_may_sleep_is_not_asked_and_said_to_be_unknown() -> None:
    asked: list[str] = []

    def probe(target: Target) -> Capacity | Refusal:
        asked.append(target.name)
        return Capacity(4, 0, 0)

    component = SageMaker("component", endpoint="shared", component="chat")
    multi = SageMaker("multi", endpoint="many", target_model="a.tar.gz")
    alone = SageMaker("alone", endpoint="alone")
    report = look(probe, Pool("chat", (component, multi, alone)))
    assert asked == ["alone"]
    assert (report.answering, report.failing, report.not_asked) == (1, 0, 2)
