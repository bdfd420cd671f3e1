"""What sight is told of requests, and what every answer says of its trace."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from chalicelib import wiring
from chalicelib.admission.limits import Limits, Rate
from chalicelib.call import Call, Started
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.pool import Target
from chalicelib.sight import RequestFacts
from chalicelib.sight.bounded import Bounded
from tests.sight.kept import Kept
from tests.small_deployments import Answer, Deployment, Gateway

CHAT = "/tenants/acme/v1/chat/completions"
ROUTE = "POST /tenants/{tenant}/v1/chat/completions"
TRACE, SPAN = "692b4a80" + "a1" * 12, "c3" * 8


class Failing(Kept):
    """That fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def request(self, facts: RequestFacts) -> None:
        if self.broken:
            raise RuntimeError
        super().request(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        if self.broken:
            raise RuntimeError(metric, now_ms, facts)
        super().count(metric, now_ms, **facts)

    def only(self) -> RequestFacts:
        (facts,) = self.requests
        self.requests.clear()
        return facts


class Scene:
    def __init__(self, gateway: Gateway) -> None:
        self.kept = Failing()
        self.gateway = gateway
        self.calls: list[Call] = []
        self.deployment = Deployment(script=self._answered)
        self.deployment.telemetry = Bounded(self.kept)
        self.deployment.pool()
        self.deployment.tenant()
        self.key = self.deployment.key()

    def _answered(self, _target: Target, call: Call) -> Iterable[Step]:
        self.calls.append(call)
        if b"break" in bytes(call.fields["messages"]):
            return [Started("i")]
        return words("it is fine") if call.stream else whole("it is fine")

    def chat(
        self, text: str = "hi", headers: dict[str, str] | None = None, tenant: str = "acme", **more: Any
    ) -> Answer:
        asked = {"model": "model-a", "messages": [{"role": "user", "content": text}], **more}
        return self.gateway.call("POST", CHAT.replace("acme", tenant), key=self.key, json=asked, headers=headers)


@pytest.fixture
def scene(gateway: Gateway) -> Iterator[Scene]:
    scene = Scene(gateway)
    with wiring.opening_into(scene.deployment.rooms()):
        yield scene


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_told_once_with_its_route_and_its_times(scene: Scene, stream: bool) -> None:
    answer = scene.chat(stream=stream)
    assert answer.status == 200
    told = scene.kept.only()
    assert (told.event, told.route, told.pool, told.tenant) == ("Settled", ROUTE, "model-a", "acme")
    assert (told.reason, told.streamed, told.tokens_out) == ("", stream, 3)
    assert told.arrived_ms <= told.admitted_ms <= (told.first_token_ms or 0) <= told.ended_ms
    assert answer.headers["x-trace-id"] == told.trace.trace_id
    assert answer.headers["x-request-id"] == told.request_id


@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_is_told_the_trace_that_a_request_brings(scene: Scene, stream: bool) -> None:
    answer = scene.chat(stream=stream, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert answer.headers["x-trace-id"] == TRACE
    told = scene.kept.only()
    assert (told.trace.trace_id, told.trace.parent_id, told.trace.sampled) == (TRACE, SPAN, True)
    assert scene.calls[0].traceparent == f"00-{TRACE}-{told.trace.span_id}-01"


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_breaks_off_is_one_error_and_no_refusal_besides(scene: Scene, stream: bool) -> None:
    scene.chat("break", stream=stream)
    told = scene.kept.only()
    assert (told.event, told.reason) == ("Settled", "EngineFailed")


def test_a_limit_s_refusal_is_told_with_its_pool(scene: Scene) -> None:
    one = Limits(rates=(Rate("minute", "requests", 1, 60_000, 2),), budgets=(), in_flight=4)
    scene.deployment.tenant("slow", limits=one)
    scene.key = scene.deployment.key("slow")
    assert [scene.chat(tenant="slow").status for _ in range(2)] == [200, 429]
    *_, told = scene.kept.requests
    assert (told.event, told.reason, told.tenant, told.pool) == ("Refused", "RateLimited", "slow", "model-a")
    assert told.route == ROUTE


def test_strangers_are_told_as_nobody_s(scene: Scene) -> None:
    scene.key = "ck_acme.nobody"
    answer = scene.chat()
    assert answer.status == 401
    told = scene.kept.only()
    assert (told.event, told.reason, told.tenant, told.pool) == ("Refused", "Unauthenticated", "", "")
    assert answer.headers["x-trace-id"] == told.trace.trace_id


def test_names_that_callers_make_up_are_in_no_dimension(scene: Scene) -> None:
    assert scene.chat(model="no-such-model").status == 404
    told = scene.kept.only()
    assert (told.reason, told.pool) == ("NotFound", "")


def test_what_runs_no_model_is_told_and_what_asks_how_we_are_is_not(scene: Scene) -> None:
    listed = scene.gateway.call("GET", "/tenants/acme/v1/models", key=scene.key)
    told = scene.kept.only()
    assert (told.event, told.route, told.tenant) == ("Answered", "GET /tenants/{tenant}/v1/models", "acme")
    assert listed.headers["x-trace-id"] == told.trace.trace_id
    for path in ("/live", "/ready", "/health"):
        assert scene.gateway.call("GET", path).status == 200
    assert scene.kept.requests == []


def test_where_nothing_is_an_answer_has_a_trace_too(scene: Scene) -> None:
    answer = scene.gateway.call("GET", "/nothing/here", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert (answer.status, answer.headers["x-trace-id"]) == (404, TRACE)


@pytest.mark.parametrize("stream", [False, True])
def test_a_sink_that_fails_changes_no_answer(scene: Scene, stream: bool) -> None:
    fine = scene.chat(stream=stream, headers={"X-Request-ID": "once"})
    scene.kept.broken = True
    broken = scene.chat(stream=stream, headers={"X-Request-ID": "twice"})
    assert (broken.status, broken.body.replace(b"twice", b"once")) == (fine.status, fine.body)
    refused = scene.gateway.call("POST", CHAT, key="ck_acme.nobody", json={})
    assert refused.status == 401
