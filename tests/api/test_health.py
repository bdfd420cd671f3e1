"""What anybody may ask of how the service stands: it costs no call of a target, and hardly one of the store."""

import json

import pytest

from chalicelib import schedules, wiring
from chalicelib.engines.scripted import ScriptedEngine, whole
from chalicelib.pool import Capacity, Pool, SageMaker, Target
from chalicelib.refusal import EngineFailed, Refusal
from tests.small_deployments import T0, Deployment, Gateway, dynamodb
from tests.stores import reach_tables, with_credentials

NAMES = ("acme", "bolt", "model-a", "i-secret", "gpu-1")


class World:
    """A deployment whose targets say what the test says, and count how often they are asked."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.said: Capacity | Refusal = Capacity(4, 1, 2, "i-secret")
        self.asked = 0
        self.deployment = Deployment(engine=ScriptedEngine(lambda target, call: whole("hi"), self._probe))
        self.deployment.kinds = ("scripted", "sagemaker")
        self.deployment.pool("model-a", "a", "b")
        self.deployment.tenant("acme")

    def _probe(self, target: Target) -> Capacity | Refusal:
        self.asked += 1
        return self.said

    def health(self) -> tuple[int, dict[str, object]]:
        self.deployment.clock.now_ms += 2_001  # what was read before is forgotten
        answer = self.gateway.call("GET", "/health")
        assert not any(name in answer.body.decode() for name in NAMES)
        return answer.status, json.loads(answer.body)


@pytest.fixture
def world(gateway: Gateway) -> World:
    return World(gateway)


def test_before_the_targets_were_asked_their_health_is_unknown(world: World) -> None:
    with wiring.opening_into(world.deployment.rooms()):
        status, said = world.health()
    assert (status, said["status"], said["total_capacity"], said["asked_at"], said["age_ms"]) == (
        *(200, "unknown", None, None, None),
    )
    assert world.asked == 0


def test_whoever_asks_reads_what_the_schedule_found_and_asks_no_target(world: World) -> None:
    with wiring.opening_into(world.deployment.rooms()):
        schedules.ask_targets()
        assert world.asked == 2
        for _ in range(20):
            status, said = world.health()
    assert world.asked == 2
    assert (status, said["status"], said["available_capacity"], said["total_capacity"]) == (200, "healthy", 3, 4)
    assert (said["avg_queue_depth"], said["unknown_targets"]) == (2.0, 0)
    assert (said["asked_at"], said["age_ms"]) == ("2026-11-18T11:06:40.000+00:00", 20 * 2_001)
    assert world.deployment.clock.now_ms == T0 + 20 * 2_001


def test_targets_that_failed_are_unhealthy_until_they_are_asked_again(world: World) -> None:
    with wiring.opening_into(world.deployment.rooms()):
        world.said = EngineFailed("down")
        schedules.ask_targets()
        status, said = world.health()
        assert (status, said["status"], said["total_capacity"]) == (503, "unhealthy", 0)
        world.said = Capacity(4, 0, 0)
        schedules.ask_targets()
        assert world.health()[0] == 200


def test_what_was_found_too_long_ago_is_not_known_any_more(world: World) -> None:
    with wiring.opening_into(world.deployment.rooms()):
        world.said = EngineFailed("down")
        schedules.ask_targets()
        world.deployment.clock.now_ms += 300_000
        status, said = world.health()
    assert (status, said["status"], said["total_capacity"], said["age_ms"]) == (200, "unknown", None, 302_001)


def test_a_component_that_may_be_at_zero_is_never_asked_and_said_to_be_unknown(world: World) -> None:
    component = SageMaker("gpu-1", endpoint="shared", component="chat")
    world.deployment.tenancy.put_pool(Pool("model-a", (component,)))
    with wiring.opening_into(world.deployment.rooms()):
        schedules.ask_targets()
        status, said = world.health()
    assert world.asked == 0
    assert (status, said["status"], said["unknown_targets"], said["total_capacity"]) == (200, "unknown", 1, None)


def test_a_process_is_live_without_a_store_and_ready_with_one(gateway: Gateway, world: World) -> None:
    with_credentials()
    dead = Deployment(dynamodb(reach_tables("http://127.0.0.1:9", "dead", deadline_ms=100)))
    with wiring.opening_into(dead.rooms()):
        assert gateway.call("GET", "/live").json == {"status": "live", "region": "us-east-1"}
        refused = gateway.call("GET", "/ready")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert gateway.call("GET", "/health").status == 503
    with wiring.opening_into(world.deployment.rooms()):
        world.said = EngineFailed("down")
        schedules.ask_targets()
        assert gateway.call("GET", "/ready").json == {"status": "ready", "region": "us-east-1"}
        assert gateway.call("HEAD", "/ready").status == 200
    assert world.asked == 2
