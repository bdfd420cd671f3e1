"""Which models a target's Bedrock has: how often it is asked."""

import threading

import pytest

from chalicelib.engines.bedrock.access import Access
from chalicelib.engines.bedrock.catalogue import MAX_AGE_MS, Catalogue
from chalicelib.pool import Bedrock
from chalicelib.refusal import EngineFailed
from tests.engines.bedrocks import ANY_MODEL, NOVA, SONNET, LocalBedrock, sandbox
from tests.patience import PATIENCE_S

ASKED = ["ListFoundationModels", "ListInferenceProfiles"]
EUROPE = Bedrock("eu", region="eu-central-1")


def test_models_are_asked_for_once_until_they_are_old(bedrock: LocalBedrock) -> None:
    now_ms = [0]
    catalogue = Catalogue(sandbox(), lambda: now_ms[0])
    profiles = {model.model_id: model.inference_profile for model in catalogue.models(ANY_MODEL)}
    assert profiles[SONNET] == f"us.{SONNET}"
    assert NOVA in profiles
    now_ms[0] = MAX_AGE_MS - 1
    catalogue.models(ANY_MODEL)
    assert bedrock.operations() == ASKED
    now_ms[0] += 1
    catalogue.models(ANY_MODEL)
    assert bedrock.operations() == ASKED * 2


def test_who_waited_for_a_bedrock_that_fails_does_not_ask_it_in_turn(bedrock: LocalBedrock) -> None:
    engine, came = sandbox(), threading.Semaphore(0)

    class Reaching:
        def access(self, target: Bedrock) -> Access:
            for _ in range(4):
                assert came.acquire(timeout=PATIENCE_S)
            return engine.access(target)

    def clock() -> int:
        came.release()
        return 0

    refused: list[str] = []

    def ask() -> None:
        with pytest.raises(EngineFailed) as failed:
            catalogue.models(ANY_MODEL)
        refused.append(failed.value.text)

    catalogue = Catalogue(Reaching(), clock)
    bedrock.do("fail", operation="ListFoundationModels", error="AccessDeniedException", times=1)
    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert len(refused) == 4
    assert bedrock.operations() == ASKED[:1]
    assert Catalogue(engine, lambda: 0).models(ANY_MODEL)


def test_a_place_that_is_slow_keeps_no_other_waiting(bedrock: LocalBedrock) -> None:
    engine = sandbox()
    slow, asked = threading.Event(), threading.Event()

    class Reaching:
        def access(self, target: Bedrock) -> Access:
            if target is ANY_MODEL:
                asked.set()
                slow.wait(PATIENCE_S)
            return engine.access(target)

    catalogue = Catalogue(Reaching(), lambda: 0)
    waiting = threading.Thread(target=catalogue.models, args=(ANY_MODEL,))
    waiting.start()
    try:
        assert asked.wait(PATIENCE_S)
        assert catalogue.models(EUROPE)
        assert waiting.is_alive()
    finally:
        slow.set()
        waiting.join()
