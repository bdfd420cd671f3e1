"""The life of a request: what it costs, and what it leaves behind, whatever goes wrong in between."""

import threading
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Started, Usage, Waiting
from chalicelib.dialects import openai
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.inference.answer import CLIENT_LEFT
from chalicelib.ledger import Units
from chalicelib.pool import Target
from chalicelib.refusal import (
    Conflict,
    EngineFailed,
    EngineTimedOut,
    Forbidden,
    Malformed,
    NoCapacity,
    NotFound,
    Refusal,
    TooLarge,
)
from chalicelib.settings import Settings
from tests.fault_proxy import Fault, fault_proxy
from tests.inference.acme import MESSAGES, PROMPT_TOKENS, Acme
from tests.patience import PATIENCE_S, until
from tests.small_deployments import Deployment, dynamodb
from tests.stores import Served, fresh_tables, prefix_of, reach_tables, sent


def test_a_finished_answer_is_charged_what_the_engine_counted() -> None:
    acme = Acme()
    with acme.run() as answer:
        assert acme.held() == (1, PROMPT_TOKENS + 100)
        events = list(answer)
    assert isinstance(events[-1], Finished)
    entry = acme.entry()
    assert (entry.outcome, entry.reason, entry.pool, entry.target) == ("completed", "", "model-a", "a")
    assert entry.charged == entry.used == Units(requests=1, tokens=3)  # scripted: 1 in, 2 words out
    assert acme.held() == (0, 3)


def test_it_is_settled_before_the_last_event_leaves() -> None:
    acme = Acme()
    for event in acme.run():
        assert acme.held()[0] == (0 if isinstance(event, Finished) else 1)


def test_one_line_in_the_log_says_what_became_of_a_request_and_nothing_of_what_was_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    acme = Acme(lambda _target, _call: words("the answer"))
    list(acme.run())
    (line,) = capsys.readouterr().out.splitlines()
    said = msgspec.json.decode(line)
    assert said["Settled"] == 1
    assert (said["tenant"], said["request_id"], said["outcome"], said["tokens"]) == ("acme", "req-1", "completed", 3)
    assert "hello" not in line
    assert "answer" not in line
    assert (said["RequestCount"], said["TokenUsage"], said["tokens_in"], said["tokens_out"]) == (1, 3, 1, 2)
    assert (said["pool"], said["route"]) == ("model-a", "")


def test_a_charge_is_never_more_than_was_reserved() -> None:
    def greedy(_target: Target, _call: Call) -> Iterable[Step]:
        return (Started("i"), Delta(b"{}", 1), Finished(Usage(5_000, 5_000)))

    acme = Acme(greedy)
    list(acme.run())
    assert acme.entry().used.tokens == 10_000
    assert acme.entry().charged.tokens == PROMPT_TOKENS + 100 == acme.held()[1]


def test_an_answer_that_waits_says_where_and_how_long() -> None:
    """Its headers leave before it has started."""
    answer = Acme(lambda _target, _call: (Waiting(3, 1_200, "i-9"), *words("fine", instance="i-9"))).run()
    assert (answer.instance, answer.queue_ms) == ("i-9", 1_200)
    answer.close()


def test_an_answer_that_is_never_begun_is_settled_when_it_is_closed() -> None:
    acme = Acme()
    acme.run().close()
    assert acme.entry().reason == CLIENT_LEFT
    assert acme.held() == (0, PROMPT_TOKENS)
    assert acme.deployment.engine.running == 0


def test_a_client_that_leaves_is_charged_what_was_generated_until_then() -> None:
    acme = Acme(lambda _target, _call: words("one two three four five"))
    answer = acme.run()
    for _, event in zip(range(3), answer, strict=False):
        assert isinstance(event, Started | Delta)
    answer.close()
    answer.close()
    assert acme.entry().charged == Units(requests=1, tokens=PROMPT_TOKENS + 2)
    assert acme.held() == (0, PROMPT_TOKENS + 2)
    assert acme.deployment.engine.running == 0
    assert list(answer) == []


def test_a_client_that_leaves_while_the_engine_is_silent_stops_it() -> None:
    silent = threading.Event()
    acme = Acme(lambda _target, _call: (Started("i"), Delta(b"{}", 1), silent, *words("never")[1:]))
    answer = acme.run()
    seen: list[Any] = []
    reading = threading.Thread(target=lambda: seen.extend(answer))
    reading.start()
    while len(seen) < 2:  # until the reader is at the gate
        reading.join(0.001)
    answer.close()
    reading.join(PATIENCE_S)
    assert not reading.is_alive()
    assert acme.entry().reason == CLIENT_LEFT
    assert acme.held() == (0, PROMPT_TOKENS + 1)


def test_an_engine_that_breaks_off_costs_nothing_and_is_on_record() -> None:
    acme = Acme(lambda _target, _call: (Started("i"), Delta(b"{}", 1), EngineFailed("broke")))
    with acme.run() as answer, pytest.raises(EngineFailed):
        list(answer)
    entry = acme.entry()
    assert (entry.outcome, entry.reason) == ("failed", "EngineFailed")
    assert entry.used.tokens == PROMPT_TOKENS + 1
    assert entry.charged == Units()
    assert acme.held() == (0, 0)


def test_a_stream_without_its_end_is_a_failed_engine() -> None:
    acme = Acme(lambda _target, _call: (Started("i"), Delta(b"{}", 1)))
    with pytest.raises(EngineFailed):
        list(acme.run())
    assert acme.entry().outcome == "failed"


def test_the_next_target_answers_when_the_first_fails_before_its_first_event() -> None:
    def first_is_down(target: Target, _call: Call) -> Iterable[Step]:
        return (EngineFailed("down"),) if target.name == "a" else words("fine", instance=target.name)

    acme = Acme(first_is_down)
    answer = acme.run()
    list(answer)
    assert answer.instance == "b"
    assert acme.entry().target == "b"


@pytest.mark.parametrize("refusal", [NoCapacity("full"), Malformed("wrong"), TooLarge("long")])
def test_a_call_that_no_target_takes_leaves_one_entry_and_no_lease(refusal: Refusal) -> None:
    acme = Acme(lambda _target, _call: (refusal,))
    with pytest.raises(type(refusal)):
        acme.run()
    assert (acme.entry().outcome, acme.entry().reason) == ("failed", type(refusal).__name__)
    assert acme.entry().charged == acme.entry().used == Units()
    assert acme.held() == (0, 0)


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"pool": "model-b"}, NotFound),
        ({"operation": "embeddings"}, Malformed),
        ({"tenant": "other"}, NotFound),
        ({"max_tokens": 4_000, "choices": 16}, TooLarge),
    ],
)
def test_what_is_refused_without_an_admission_leaves_nothing(more: dict[str, Any], refusal: type[Refusal]) -> None:
    acme = Acme()
    with pytest.raises(refusal):
        acme.run(**more)
    assert acme.entries() == ()
    assert acme.held() == (0, 0)
    assert acme.deployment.engine.opened == 0


def test_a_role_without_the_permission_is_refused() -> None:
    acme = Acme()
    acme.key = acme.deployment.key("acme", "viewer")
    with pytest.raises(Forbidden):
        acme.run()


def test_a_long_answer_renews_its_lease() -> None:
    acme = Acme(lambda _target, _call: words("one two three"))
    answer = acme.run()
    expires_ms = answer.lease.expires_ms
    next(iter(answer))
    acme.deployment.clock.now_ms += Settings().renew_ms
    next(iter(answer))
    assert answer.lease.expires_ms == expires_ms + Settings().renew_ms
    list(answer)
    assert acme.entry().outcome == "completed"


def test_an_answer_that_was_given_up_on_is_cut_and_its_usage_recorded_late(capsys: pytest.CaptureFixture[str]) -> None:
    acme = Acme(lambda _target, _call: words("one two three"))
    answer = acme.run()
    next(iter(answer))
    acme.deployment.clock.now_ms += Settings().lease_ms + 1
    assert acme.path.admission.reap(acme.deployment.clock()) == 1
    with pytest.raises(EngineFailed):
        list(answer)
    entry = acme.entry()
    assert (entry.outcome, entry.charged) == ("abandoned", Units())
    assert '"SettledLate":1' in capsys.readouterr().out
    assert entry.late is not None
    assert entry.late.tokens >= PROMPT_TOKENS
    assert acme.held() == (0, 0)


def test_an_answer_that_takes_too_long_is_ended() -> None:
    acme = Acme(lambda _target, _call: words("one two three"))
    answer = acme.run()
    next(iter(answer))
    acme.deployment.clock.now_ms += Settings().answer_deadline_ms + 1
    with pytest.raises(EngineTimedOut):
        list(answer)
    assert acme.held()[0] == 0


def test_a_repeated_idempotency_key_is_refused_and_charged_once() -> None:
    acme = Acme()
    list(acme.run(idempotency_key="k"))
    with pytest.raises(Conflict, match="req-1"):
        acme.run(idempotency_key="k")
    assert sorted(entry.charged.tokens for entry in acme.entries()) == [0, 3]
    assert acme.held() == (0, 3)
    list(acme.run(idempotency_key="another"))


def test_an_idempotency_key_whose_request_is_running_is_refused() -> None:
    acme = Acme()
    running = acme.run(idempotency_key="k")
    with pytest.raises(Conflict, match="still running"):
        acme.run(idempotency_key="k")
    running.close()


def test_an_idempotency_key_whose_request_failed_uncharged_may_be_used_again() -> None:
    broken: list[Refusal] = [EngineFailed("down"), EngineFailed("down")]
    acme = Acme(lambda _target, _call: (broken.pop(),) if broken else whole("fine"))
    with pytest.raises(Refusal):
        acme.run(idempotency_key="k", stream=False)
    list(acme.run(idempotency_key="k", stream=False))
    with pytest.raises(Conflict):
        acme.run(idempotency_key="k", stream=False)


def test_the_engine_is_told_the_ceiling_and_what_it_does_not_know_passes_through() -> None:
    told: list[bytes] = []

    def note(target: Target, call: Call) -> Iterable[Step]:
        told.append(openai.request(call, target.model or call.pool))
        return words("fine")

    acme = Acme(note)
    fields = {
        "messages": msgspec.Raw(MESSAGES),
        "max_completion_tokens": msgspec.Raw(b"7"),
        "min_p": msgspec.Raw(b"0.10"),
    }
    list(acme.run(fields=fields, max_tokens=7))
    assert b'"min_p":0.10' in told[0]
    body = msgspec.json.decode(told[0])
    assert body["max_tokens"] == 7
    assert "max_completion_tokens" not in body
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_new_tokens", "n_predict", "n_cmpl"])
def test_no_other_name_of_the_ceiling_reaches_an_engine(name: str) -> None:
    told: list[dict[str, Any]] = []

    def note(target: Target, call: Call) -> Iterable[Step]:
        told.append(msgspec.json.decode(openai.request(call, "m")))
        return words("fine")

    acme = Acme(note)
    list(acme.run(fields={"messages": msgspec.Raw(MESSAGES), name: msgspec.Raw(b"100")}, max_tokens=7))
    assert told[0]["max_tokens"] == 7
    assert name not in told[0]


def test_a_warm_request_is_three_calls_and_reads_nothing(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    acme = Acme(deployment=Deployment(dynamodb(tables)))
    list(acme.run())
    calls = sent(tables)
    for number in range(3):
        acme.deployment.clock.now_ms += 1_000
        list(acme.run(request_id=f"warm-{number}"))
    assert calls == ["UpdateItem", "PutItem", "UpdateItem"] * 3


def test_a_settlement_that_the_store_does_not_take_is_late_and_not_lost(
    stores: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = fresh_tables(stores.url("local"))
    with fault_proxy(stores.url("local")) as (proxy, url):
        deployment = Deployment(dynamodb(reach_tables(url, prefix_of(direct), 300)))
        acme = Acme(deployment=deployment)
        answer = acme.run()
        proxy.always = Fault.ERROR_500
        assert isinstance(list(answer)[-1], Finished)  # the caller has the answer
        assert '"SettlementDeferred":1' in capsys.readouterr().out
        proxy.always = Fault.NONE
        # The gateway settles when the store answers again; should it end before, the reaper does.
        until(lambda: acme.held()[0] == 0)
        found = acme.entry()
        assert (found.outcome, acme.held()) == ("completed", (0, found.charged.tokens))
