"""A stream is real, tells who waits how long, and stops when its reader leaves."""

import http.client
import json
import re
import threading
from typing import Any

from tests.images.conftest import Open
from tests.images.houses import Gatekeeper, House, events
from tests.patience import PATIENCE_S, until

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def word(event: str) -> str:
    return str(json.loads(event.removeprefix("data: "))["choices"][0]["delta"].get("content", ""))


def test_each_token_leaves_before_the_next_is_generated(house: Open) -> None:
    gate = Gatekeeper()
    stream = house(gate)
    gate.let(1)
    got = events(stream.open("POST", "/invocations", CHAT))
    assert next(got) == ": started queue_ms=0"
    for index in range(5):
        assert word(next(got)) == f"w{index} ", "it is here although the engine may not go on yet"
        gate.let(1)
    assert word(next(got)) == ""
    assert list(got) == ["data: [DONE]"]


def test_the_usage_comes_last_with_no_choices(house: Open) -> None:
    stream = house().open("POST", "/invocations", {**CHAT, "stream_options": {"include_usage": True}})
    assert stream.getheader("content-type") == "text/event-stream"
    assert stream.getheader(ATTRIBUTES) == "instance=i-test"
    *_, usage, done = events(stream)
    assert done == "data: [DONE]"
    last = json.loads(usage.removeprefix("data: "))
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5


def test_who_waits_is_told_its_place_and_when_it_should_start(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1)
    first = events(h.open("POST", "/invocations", CHAT))
    waiting = [events(h.open("POST", "/invocations", CHAT, {ATTRIBUTES: f"tenant={each}"})) for each in "ab"]
    for position, stream in enumerate(waiting, 1):
        comment = next(stream)
        told = re.fullmatch(r": queue_position=(\d+) predicted_start_ms=(\d+)", comment)
        assert told, comment
        assert int(told[1]) == position
        assert int(told[2]) <= 1000 * position
    until(lambda: h.ping()["queue_depth"] == 2)
    gate.let(5)
    assert list(first)[-1] == "data: [DONE]"
    for stream in waiting:
        gate.let(5)
        said = list(stream)
        started = next(index for index, each in enumerate(said) if each.startswith(": started queue_ms="))
        assert all(each.startswith(": queue_position=") for each in said[:started])
        assert all(each.startswith("data: ") for each in said[started + 1 :])
        assert int(said[started].partition("=")[2]) > 0
        assert said[-1] == "data: [DONE]"


def test_the_place_is_told_again_when_it_changes(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1)
    running = h.open("POST", "/invocations", CHAT)
    ahead = h.open("POST", "/invocations", CHAT)
    stream = events(h.open("POST", "/invocations", CHAT))
    assert next(stream).startswith(": queue_position=2 ")
    ahead.close()
    while (comment := next(stream)).startswith(": queue_position=2 "):
        pass
    assert comment.startswith(": queue_position=1 ")
    gate.let(10)
    assert list(stream)[-1] == "data: [DONE]"
    running.close()


def test_the_urgent_overtake_and_tenants_take_turns(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1)
    running = h.open("POST", "/invocations", CHAT)
    waiting = [
        h.open("POST", "/invocations", CHAT, {ATTRIBUTES: f"tenant={tenant};priority={priority}"})
        for tenant, priority in (("a", 5), ("a", 5), ("b", 5), ("c", 9), ("d", 5))
    ]
    assert next(events(waiting[-1])).startswith(": queue_position=4 "), "behind c, a, b; before the second of a"
    for each in (running, *waiting):
        each.close()


def test_a_client_that_leaves_stops_the_generation_and_frees_the_slot(house: Open) -> None:
    for stream in (True, False):
        gate = Gatekeeper()
        h = house(gate, capacity=1)
        body = {**CHAT, "stream": stream}
        if stream:
            gate.let(1)
            response = h.open("POST", "/invocations", body)
            assert next(events(response)) == ": started queue_ms=0"
            response.close()
        else:
            leave_before_the_answer(h, body, gate)
        engine = h.launcher.engines["one"]
        until(lambda h=h: h.ping()["in_flight"] == 0)  # type: ignore[misc]
        assert (engine.running, engine.stopped) == (0, 1)
        gate.let(10)
        assert h.call("POST", "/invocations", {**CHAT, "stream": False}).status == 200


def leave_before_the_answer(h: House, body: object, gate: Gatekeeper) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", h.port)
    connection.request("POST", "/invocations", json.dumps(body))
    assert gate.waiting.acquire(timeout=PATIENCE_S)
    connection.close()


def test_a_client_that_leaves_the_line_gives_up_its_place(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1)
    running = h.open("POST", "/invocations", CHAT)
    waiting = h.open("POST", "/invocations", CHAT)
    until(lambda: h.ping()["queue_depth"] == 1)
    waiting.close()
    until(lambda: h.ping()["queue_depth"] == 0)
    assert h.ping()["in_flight"] == 1
    running.close()


def test_a_full_line_answers_503_with_retry_after_and_a_tenant_cannot_fill_it(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1, bound=2, tenant_bound=1)
    open_ = [h.open("POST", "/invocations", CHAT, {ATTRIBUTES: "tenant=a"}) for _ in range(2)]
    for tenant, full in (("a", True), ("b", False), ("c", True)):
        answer = h.open("POST", "/invocations", CHAT, {ATTRIBUTES: f"tenant={tenant}"})
        assert (answer.status == 503) is full
        if full:
            assert int(answer.getheader("retry-after") or 0) >= 1
            assert json.loads(answer.read())["error"]["code"] == "queue_full"
        else:
            open_.append(answer)
    for each in open_:
        each.close()


def test_a_wait_has_an_end(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1, queue_timeout_s=0)
    running = h.open("POST", "/invocations", CHAT)
    answer = h.call("POST", "/invocations", {**CHAT, "stream": False})
    assert (answer.status, answer.code) == (503, "queue_full")
    *_, last = events(h.open("POST", "/invocations", CHAT))
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "queue_full"
    running.close()


def test_an_engine_that_breaks_off_ends_the_stream_with_an_error_and_without_done(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate)
    gate.let(2)
    *_, token, last = events(h.open("POST", "/invocations", {**CHAT, "script": {"break_at": 2}}))
    assert word(token) == "w1 "
    assert set(json.loads(last.removeprefix("data: "))["error"]) == {"message", "type", "code"}
    assert h.ping()["in_flight"] == 0


def test_ping_answers_at_once_while_all_slots_are_busy_and_the_line_is_full(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=2, bound=2, tenant_bound=2)
    busy = [h.open("POST", "/invocations", CHAT) for _ in range(4)]
    # Nobody opens the gate: what waited for one of them would wait for ever.
    assert h.ping() == {"status": "ok", "instance": "i-test", "capacity": 2, "in_flight": 2, "queue_depth": 2}
    for each in busy:
        each.close()


def test_unloading_lets_calls_end_and_turns_new_ones_away(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate)
    gate.let(1)
    stream = events(h.open("POST", "/invocations", CHAT))
    assert next(stream) == ": started queue_ms=0"
    deleted: list[int] = []
    deleting = threading.Thread(target=lambda: deleted.append(h.call("DELETE", "/models/one").status))
    deleting.start()
    until(lambda: h.call("GET", "/models").json == {"models": []})
    assert h.call("POST", "/models/one/invoke", CHAT).status == 404
    assert not deleted
    gate.let(10)
    assert list(stream)[-1] == "data: [DONE]"
    deleting.join(PATIENCE_S)
    assert deleted == [200]


def test_stopping_cuts_what_does_not_end_and_says_so(house: Open) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1)
    gate.let(1)
    running = events(h.open("POST", "/invocations", CHAT))
    assert next(running) == ": started queue_ms=0"
    waiting = events(h.open("POST", "/invocations", CHAT))
    assert next(waiting).startswith(": queue_position=1 ")
    h.run(lambda: h.container.stop(grace_s=0.05))
    for stream in (waiting, running):
        *_, last = stream
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert h.call("GET", "/ping").status == 503
    refused = h.call("POST", "/invocations", CHAT)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
