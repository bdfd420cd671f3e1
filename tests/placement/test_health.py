import threading

from chalicelib.engines.scripted import ScriptedEngine
from chalicelib.placement.health import Health
from chalicelib.pool import Capacity, SageMaker, Scripted, Target
from chalicelib.refusal import EngineFailed, Refusal
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S

A = Scripted("a", url="http://a/v1")
B = Scripted("b", url="http://b/v1")


def health(**said: Capacity | Refusal) -> tuple[Health, list[str]]:
    asked: list[str] = []

    def probe(target: Target) -> Capacity | Refusal:
        asked.append(target.name)
        return said[target.name]

    return Health(
        {"scripted": ScriptedEngine(lambda target, call: (), probe)}, Settings(health_max_age_ms=2_000)
    ), asked


def test_each_place_is_asked_and_those_that_do_not_answer_are_none() -> None:
    looking, _ = health(a=Capacity(4, 1, 0), b=EngineFailed("down"))
    unknown = SageMaker("x", endpoint="e")
    assert list(looking.look([A, B, unknown], 0).values()) == [Capacity(4, 1, 0), None, None]


def test_targets_of_several_pools_at_one_place_count_once() -> None:
    looking, asked = health(a=Capacity(4, 1, 0))
    assert len(looking.look([A, Scripted("a", url=A.url, model="other")], 0)) == 1
    assert asked == ["a"]


def test_an_answer_is_good_for_as_long_as_settings_say() -> None:
    said: dict[str, Capacity | Refusal] = {"a": Capacity(4, 0, 0)}
    asked: list[str] = []

    def probe(target: Target) -> Capacity | Refusal:
        asked.append(target.name)
        return said["a"]

    looking = Health({"scripted": ScriptedEngine(lambda target, call: (), probe)}, Settings(health_max_age_ms=2_000))
    looking.look([A], 0)
    said["a"] = EngineFailed("stopped")
    assert list(looking.look([A], 2_000).values()) == [Capacity(4, 0, 0)]
    assert list(looking.look([A], 2_001).values()) == [None]
    assert asked == ["a", "a"]


def test_targets_are_asked_at_the_same_time() -> None:
    both_asked = threading.Barrier(2, timeout=PATIENCE_S)

    def probe(target: Target) -> Capacity | Refusal:
        both_asked.wait()
        return Capacity(1, 0, 0)

    looking = Health({"scripted": ScriptedEngine(lambda target, call: (), probe)}, Settings())
    assert list(looking.look([A, B], 0).values()) == [Capacity(1, 0, 0)] * 2


def test_one_that_hangs_does_not_hold_the_others() -> None:
    never = threading.Event()

    def probe(target: Target) -> Capacity | Refusal:
        if target is A:
            never.wait(PATIENCE_S)
        return Capacity(1, 0, 0)

    looking = Health({"scripted": ScriptedEngine(lambda target, call: (), probe)}, Settings())
    assert list(looking.look([A, B], 0).values()) == [None, Capacity(1, 0, 0)]
    never.set()


def test_callers_that_ask_meanwhile_wait_for_the_same_answer() -> None:
    gate = threading.Event()
    asked = threading.Event()
    probes: list[str] = []

    def probe(target: Target) -> Capacity | Refusal:
        probes.append(target.name)
        asked.set()
        gate.wait(PATIENCE_S)
        return Capacity(1, 0, 0)

    looking = Health({"scripted": ScriptedEngine(lambda target, call: (), probe)}, Settings())
    threads = [threading.Thread(target=looking.look, args=([A], 0)) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert asked.wait(PATIENCE_S)
    gate.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert probes == ["a"]
