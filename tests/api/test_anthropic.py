"""Anthropic's routes at the gateway: form, shape of errors, events, charges. The model is scripted."""

from collections.abc import Callable, Iterable
from typing import Any

import anthropic
import msgspec
import pytest

from chalicelib import wiring
from chalicelib.admission.limits import Budget, Limits
from chalicelib.call import Call, Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects.anthropic.answers import Answered
from chalicelib.dialects.anthropic.members import betas
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.http.ids import Ids
from chalicelib.http.problems import KINDS
from chalicelib.http.surface import refused
from chalicelib.ledger import Entry
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import (
    Conflict,
    ContentRefused,
    Crowded,
    EngineFailed,
    EngineTimedOut,
    Forbidden,
    Malformed,
    MethodNotAllowed,
    NoCapacity,
    NotFound,
    NotOpened,
    OverBudget,
    QuotaExhausted,
    RateLimited,
    Refusal,
    TooLarge,
    TooSlow,
    Unauthenticated,
)
from chalicelib.sight import UNTRACED
from tests.engines.answers import Chat
from tests.engines.servers import always, serving
from tests.engines.servers import whole as answer_of
from tests.patience import PATIENCE_S
from tests.small_deployments import T0, Deployment, Gateway

MESSAGES = "/tenants/acme/v1/messages"
HELLO: dict[str, Any] = {
    "model": "model-a",
    "max_tokens": 16,
    "messages": [{"role": "user", "content": "hi"}],
}


def says(text: str, call: Call) -> list[Event]:
    return list(Answered(Chat(words(text) if call.stream else whole(text)), call))


def opening_into(script: Any) -> Deployment:
    """A deployment whose model is `script`, with the pool and the tenant of most tests."""
    deployment = Deployment(script=script)
    deployment.tenancy.put_pool(Pool("model-a", (Scripted("a", url="a"),), max_tokens=64))
    deployment.tenant("acme")
    return deployment


def ledger(deployment: Deployment) -> Entry:
    """The one entry."""
    (entry,) = deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    return entry


def sdk(gateway: Gateway, key: str, retries: int = 0, tenant: str = "acme") -> Any:
    base = f"http://{gateway.host}:{gateway.port}/tenants/{tenant}"
    return anthropic.Anthropic(base_url=base, api_key=key, max_retries=retries, timeout=PATIENCE_S)


def test_the_sdk_is_answered_and_told_the_requests_id(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("hello to you", call))
    with wiring.opening_into(deployment.rooms()):
        message = sdk(gateway, deployment.key()).messages.create(**HELLO)
    assert message.content[0].text == "hello to you"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1, 3)
    assert message.id == f"msg_{message._request_id}"


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization"])
def test_the_key_comes_in_either_header(gateway: Gateway, name: str) -> None:
    deployment = opening_into(lambda _, call: says("yes", call))
    key = deployment.key()
    headers = {name: key if name == "X-API-Key" else f"Bearer {key}"}
    with wiring.opening_into(deployment.rooms()):
        assert gateway.call("POST", MESSAGES, json=HELLO, headers=headers).status == 200


def test_a_stream_is_put_together_by_the_sdk(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("hello to you", call))
    with wiring.opening_into(deployment.rooms()), sdk(gateway, deployment.key()).messages.stream(**HELLO) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert texts == ["hello", " to", " you"]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)


def test_who_leaves_at_the_last_event_has_not_left_early(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("hello to you", call))
    with wiring.opening_into(deployment.rooms()):
        stream = sdk(gateway, deployment.key()).messages.create(**HELLO, stream=True)
        while next(stream).type != "message_stop":
            pass
        entry = ledger(deployment)
        stream.close()
    assert (entry.operation, entry.outcome, entry.charged.tokens) == ("messages", "completed", 4)


def test_a_queued_stream_is_kept_alive_by_pings(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: [Waiting(2, 900), *says("hello", call)])
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", MESSAGES, key=deployment.key(), json={**HELLO, "stream": True})
    first, second, *_ = answer.body.split(b"\n\n")
    assert first == b": queue_position=2 predicted_start_ms=900"
    assert second == b'event: ping\ndata: {"type": "ping"}'


def test_a_stream_that_breaks_ends_with_an_error_that_the_sdk_raises(gateway: Gateway) -> None:
    def script(_: Target, call: Call) -> Iterable[Step]:
        return [*says("hello to you", call)[:4], EngineFailed("The model broke off.")]

    deployment = opening_into(script)
    with wiring.opening_into(deployment.rooms()):
        stream = sdk(gateway, deployment.key()).messages.create(**HELLO, stream=True)
        with pytest.raises(anthropic.APIStatusError) as broken:
            list(stream)
    assert (broken.value.type, broken.value.api_message) == ("api_error", "The model broke off.")


def test_tokens_are_counted_and_only_the_prompt_is_charged(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("h", call))
    counted = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    with wiring.opening_into(deployment.rooms()):
        count = sdk(gateway, deployment.key()).messages.count_tokens(**counted)
    assert count.input_tokens == 1
    entry = ledger(deployment)
    assert (entry.operation, entry.charged.tokens) == ("messages.count_tokens", 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"n": 2}, "n"),
    ],
)
def test_a_form_that_is_wrong_is_named(gateway: Gateway, change: dict[str, Any], field: str) -> None:
    deployment = opening_into(lambda _, call: says("no", call))
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", MESSAGES, key=deployment.key(), json={**HELLO, **change})
    assert answer.status == 400
    assert answer.json["type"] == "error"
    assert (answer.json["error"]["type"], answer.json["error"]["field"]) == ("invalid_request_error", field)
    assert answer.json["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


def test_the_betas_of_the_header_reach_the_engine_and_are_no_prompt(gateway: Gateway) -> None:
    calls: list[Call] = []

    def script(_: Target, call: Call) -> Iterable[Step]:
        calls.append(call)
        return says("yes", call)

    deployment = opening_into(script)
    key = deployment.key()
    with wiring.opening_into(deployment.rooms()):
        for headers in ({"Anthropic-Beta": "context-1m-2025-08-07,x"}, {}):
            assert gateway.call("POST", MESSAGES + "?beta=true", key=key, json=HELLO, headers=headers).status == 200
    told, untold = calls
    assert betas(told.fields) == ["context-1m-2025-08-07"]
    assert (betas(untold.fields), untold.prompt_tokens) == ([], told.prompt_tokens)


def test_a_sealed_request_is_sent_to_the_routes_that_take_one(gateway: Gateway, deployment: Deployment) -> None:
    for path in (MESSAGES, f"{MESSAGES}/count_tokens"):
        headers = {"Content-Type": "application/octet-stream"}
        answer = gateway.call("POST", path, key=deployment.key("acme"), body=b"sealed", headers=headers)
        assert answer.status == 400
        assert "/chat/completions" in answer.json["error"]["message"]


RAISED = {
    Malformed: anthropic.BadRequestError,
    Unauthenticated: anthropic.AuthenticationError,
    NotOpened: anthropic.AuthenticationError,
    ContentRefused: anthropic.BadRequestError,
    OverBudget: anthropic.PaymentRequiredError,
    Forbidden: anthropic.PermissionDeniedError,
    NotFound: anthropic.NotFoundError,
    MethodNotAllowed: anthropic.APIStatusError,
    TooSlow: anthropic.RequestTimeoutError,
    Conflict: anthropic.ConflictError,
    TooLarge: anthropic.ContentTooLargeError,
    RateLimited: anthropic.RateLimitError,
    QuotaExhausted: anthropic.RateLimitError,
    Crowded: anthropic.RateLimitError,
    EngineFailed: anthropic.InternalServerError,
    NoCapacity: anthropic.OverloadedError,
    EngineTimedOut: anthropic.GatewayTimeoutError,
}


MADE: dict[type[Refusal], Callable[[], Refusal]] = {
    Unauthenticated: Unauthenticated,
    NotOpened: NotOpened,
    MethodNotAllowed: lambda: MethodNotAllowed("Said so.", {"GET"}),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_refusal_is_the_sdks_own_error(kind: type[Refusal]) -> None:
    error = MADE[kind]() if kind in MADE else kind("Said so.")
    reply = refused(error, "anthropic", Ids("r-1", UNTRACED))
    with serving(always(answer_of(reply.body, reply.status_code))) as server:
        client = anthropic.Anthropic(base_url=server.root, api_key="x", max_retries=0)
        with pytest.raises(anthropic.APIStatusError) as raised:
            client.messages.create(**HELLO)
    assert type(raised.value) is RAISED[kind]
    assert raised.value.type == KINDS[kind].anthropic_type


def test_the_sdk_waits_as_long_as_it_is_told_and_tries_again(gateway: Gateway) -> None:
    tries: list[int] = []

    def script(_: Target, call: Call) -> Iterable[Step]:
        tries.append(1)
        return [NoCapacity("Full.", retry_in_ms=20)] if len(tries) == 1 else says("hello", call)

    deployment = opening_into(script)
    with wiring.opening_into(deployment.rooms()):
        refused = gateway.call("POST", MESSAGES, key=deployment.key(), json=HELLO)
        assert (refused.status, refused.headers["retry-after-ms"]) == (529, "20")
        tries.clear()
        assert sdk(gateway, deployment.key(), retries=1).messages.create(**HELLO).content
    assert len(tries) == 2


def test_the_sdk_does_not_repeat_what_cannot_pass(gateway: Gateway) -> None:
    deployment = opening_into(lambda _, call: says("hello", call))
    once = Budget("calls", "requests", 2, "month")
    deployment.tenant("tiny", limits=Limits(rates=(), budgets=(once,), in_flight=8))
    with wiring.opening_into(deployment.rooms()):
        messages = sdk(gateway, deployment.key("tiny"), retries=2, tenant="tiny").messages
        again = {"Idempotency-Key": "one"}
        messages.create(**HELLO, extra_headers=again)
        with pytest.raises(anthropic.ConflictError):
            messages.create(**HELLO, extra_headers=again)
        messages.create(**HELLO)
        with pytest.raises(anthropic.RateLimitError) as refused:
            messages.create(**HELLO)
    assert int(refused.value.response.headers["retry-after"]) > 60
    assert deployment.engine.opened == 2


def test_an_event_that_is_none_of_anthropics_never_leaves(gateway: Gateway) -> None:
    odd = [Started("i"), Delta(b'{"type":"a\\nb"}'), Finished(Usage(1, 1))]
    deployment = opening_into(lambda _target, _call: odd)
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", MESSAGES, key=deployment.key(), json={**HELLO, "stream": True})
    assert answer.body.startswith(b"event: error\n")
    assert msgspec.json.decode(answer.body.split(b"data: ")[1])["error"]["type"] == "api_error"
