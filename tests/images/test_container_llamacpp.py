"""The container as it ships: `python -m serving` with llama.cpp and the demo model, in processes of their own."""

import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.engines.process import PULSE_EVERY_S
from tests.images.houses import DEMO, Answer, Process, alive, events, process
from tests.patience import PATIENCE_S, until

QUESTION = {"messages": [{"role": "user", "content": "What is Cloister?"}], "temperature": 0, "max_tokens": 24}
LONG = {**QUESTION, "max_tokens": 1500, "ignore_eos": True, "temperature": 1.5}
SECRET = "a-secret-nobody-may-log"


@pytest.fixture(scope="module")
def served() -> Iterator[Process]:
    # Tests stop its engines, for as long as it takes on a busy machine.
    patient = ("--stall-timeout-s", str(round(PATIENCE_S)))
    with process("--model", f"demo={DEMO}", "--embedding", f"vectors={DEMO}", "--capacity", "2", *patient) as each:
        yield each.ready()


def ask(served: Process, body: dict[str, Any], op: str = "chat.completions") -> Any:
    answer = served.call("POST", "/models/demo/invoke", body, {"X-Amzn-SageMaker-Custom-Attributes": f"op={op}"})
    assert answer.status == 200, answer.body
    return answer.json


def test_the_demo_model_answers(served: Process) -> None:
    answer = ask(served, QUESTION)
    assert "Cloister" in answer["choices"][0]["message"]["content"]
    assert answer["model"] == "demo"
    assert answer["usage"]["completion_tokens"] == 24


def test_a_stream_says_the_same_token_by_token(served: Process) -> None:
    whole = ask(served, QUESTION)["choices"][0]["message"]["content"]
    stream = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    started, *said, usage, done = events(served.open("POST", "/models/demo/invoke", stream))
    chunks = [json.loads(each.removeprefix("data: ")) for each in said]
    words = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert started == ": started queue_ms=0"
    assert "".join(words) == whole
    assert len([word for word in words if word]) > 18, "one event for about every token"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert json.loads(usage.removeprefix("data: "))["usage"]["completion_tokens"] == 24
    assert done == "data: [DONE]"


@pytest.mark.parametrize(
    ("op", "more"),
    [
        ("chat.completions", {"n": 2}),
        ("completions", {"prompt": "x", "best_of": 2}),
        ("completions", {"prompt": ["x", "y"]}),
        ("embeddings", {"input": "x", "dimensions": 8}),
    ],
)
def test_what_llamacpp_would_not_count_or_not_do_is_refused(served: Process, op: str, more: dict[str, Any]) -> None:
    model = "vectors" if op == "embeddings" else "demo"
    headers = {"X-Amzn-SageMaker-Custom-Attributes": f"op={op}"}
    answer = served.call("POST", f"/models/{model}/invoke", {**QUESTION, **more}, headers)
    assert answer.status == 400, answer.body


def test_an_answer_of_megabytes_arrives_whole(served: Process) -> None:
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "op=embeddings"}
    for _ in range(4):
        answer = served.call("POST", "/models/vectors/invoke", {"input": ["a"] * 512}, headers)
        assert (answer.status, len(answer.json["data"])) == (200, 512)


def test_the_first_token_is_here_while_later_ones_are_generated(served: Process) -> None:
    got = events(served.open("POST", "/models/demo/invoke", {**LONG, "stream": True}))
    while not next(got).startswith("data: "):
        pass
    with stopped(engine_of(served)):
        assert served.ping()["in_flight"] == 1, "the engine has not said all, and says nothing now"
    assert list(got)[-1] == "data: [DONE]"


def test_fields_the_container_does_not_know_reach_the_engine(served: Process) -> None:
    """Each shows in the answer, so each has arrived: an OpenAI field, a grammar, and one that only llama.cpp has."""
    assert ask(served, {**QUESTION, "logprobs": True, "top_logprobs": 2})["choices"][0]["logprobs"]["content"]
    shape = {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}}
    shaped = ask(served, {**QUESTION, "response_format": shape})["choices"][0]["message"]["content"]
    assert shaped.strip() in ('"yes"', '"no"', ""), "the demo model likes blanks, which JSON allows"
    words = ask(served, QUESTION)["choices"][0]["message"]["content"].split(" ")
    assert ask(served, {**QUESTION, "stop": [f" {words[2]}"]})["choices"][0]["message"]["content"] == " ".join(
        words[:2]
    )
    assert (
        ask(served, {**QUESTION, "grammar": 'root ::= "only this"'})["choices"][0]["message"]["content"] == "only this"
    )


def test_a_seed_repeats_an_answer(served: Process) -> None:
    dice = {"prompt": "The", "temperature": 2, "max_tokens": 30}
    said = [ask(served, {**dice, "seed": seed}, "completions")["choices"][0]["text"] for seed in (7, 7, 8)]
    assert said[0] == said[1] != said[2]


def test_completions_and_embeddings(served: Process) -> None:
    text = ask(served, {"prompt": "Cloister gives every", "max_tokens": 2, "temperature": 0}, "completions")
    assert text["choices"][0]["text"]
    assert text["object"] == "text_completion"
    answer = served.call("POST", "/v1/embeddings", {"model": "vectors", "input": ["one", "two", "one"]})
    vectors = [each["embedding"] for each in answer.json["data"]]
    assert len(vectors) == 3
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-3)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-3)


def test_no_tenant_sees_in_the_cache_what_another_has_asked(served: Process) -> None:
    for body in (QUESTION, {**QUESTION, "cache_prompt": True, "id_slot": 0}):
        for _ in range(3):
            assert ask(served, body)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"messages": 3},
        {"messages": [{"role": "user"}], "max_tokens": "many"},
        {"prompt": "no messages"},
        {**QUESTION, "grammar": "this is ( no grammar"},
        {**QUESTION, "grammar": 'root ::= "a"' * 2000},
        {**QUESTION, "reasoning_format": "none of them"},
        {**QUESTION, "tools": 3},
        {"messages": [{"role": "user", "content": "word " * 5000}]},
        {**QUESTION, "n": 100},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}]},
        {"messages": json.loads("[" * 400 + "]" * 400)},
    ],
    ids=[
        "type",
        "tokens",
        "missing",
        "grammar",
        "large grammar",
        "reasoning",
        "tools",
        "too long",
        "n",
        "image",
        "deep",
    ],
)
def test_what_llama_cpp_refuses_is_400_and_it_lives_on(served: Process, body: dict[str, Any]) -> None:
    for stream in (False, True):
        answer = served.call("POST", "/models/demo/invoke", {**body, "stream": stream})
        assert answer.status == 400, answer.body
        assert answer.code
    assert served.ping()["status"] == "ok"
    assert ask(served, QUESTION)


def shaped(schema: dict[str, Any]) -> dict[str, Any]:
    return {**QUESTION, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


@pytest.mark.parametrize(
    "body",
    [
        shaped({"type": "string", "pattern": "^(a|a)*{2000}$"}),
        {**QUESTION, "grammar": 'root ::= ("x"? "y"? "z"?){200}'},
        {**QUESTION, "unknown": {f"member{index}": 1 for index in range(3_000)}},
        {**QUESTION, **{f"member{index}": 1 for index in range(100_000)}},
    ],
    ids=["pattern", "grammar", "inner members", "members"],
)
def test_what_would_keep_llama_cpp_from_everybody_never_reaches_it(served: Process, body: dict[str, Any]) -> None:
    engine = engine_of(served)
    before = cpu_s(engine)
    answer = served.call("POST", "/models/demo/invoke", body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "the most" in answer.json["error"]["message"]
    assert cpu_s(engine) - before < 0.1


def test_what_programs_ask_for_is_within_the_bounds(served: Process) -> None:
    text = {"type": "string", "description": "What it is, and when it may be left out. " * 8, "maxLength": 200}
    members = {f"member_{index}": text for index in range(9)}
    parameters = {"type": "object", "properties": members, "required": ["member_0"]}
    tools = [{"type": "function", "function": {"name": f"tool_{n}", "parameters": parameters}} for n in range(24)]
    assert len(json.dumps(tools)) > 80_000
    assert ask(served, {**QUESTION, "tools": tools})["choices"]
    wide = {"type": "object", "properties": {f"m{n}": text for n in range(80)}}
    deep = {"type": "object", "properties": {f"part_{n}": wide for n in range(3)}}
    assert len(json.dumps(deep)) > 80_000
    assert ask(served, shaped(deep))["choices"]


def test_what_a_model_cannot_do_is_the_callers_fault_not_the_instances(served: Process) -> None:
    for path, body in (
        ("/v1/embeddings", {"model": "demo", "input": "x"}),
        ("/v1/embeddings", {"model": "vectors", "input": "word " * 10_000}),
    ):
        answer = served.call("POST", path, body)
        assert answer.status == 400, answer.body


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """An engine in the middle of its work, which stands still: the work takes it seconds, and a signal reaches it at
    once, so that it is well before its end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def engine_of(served: Process) -> int:
    """The process of the model `demo`."""
    (pid,) = [
        pid for pid in children(served.process.pid) if '"name":"demo"' in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    return pid


def at_rest(pid: int) -> bool:
    """Whether none of its threads runs, or would if there were a free core."""
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) <= {"S", "I"}


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def test_a_client_that_leaves_a_stream_stops_llama_cpp_itself(served: Process) -> None:
    engine = engine_of(served)
    before = cpu_s(engine)
    assert ask(served, LONG)["usage"]["completion_tokens"] == LONG["max_tokens"]
    whole_s = cpu_s(engine) - before
    response = served.open("POST", "/models/demo/invoke", {**LONG, "stream": True})
    got = events(response)
    while not next(got).startswith("data: "):
        pass
    with stopped(engine):
        response.close()
        until(lambda: served.ping()["in_flight"] == 0)
        before = cpu_s(engine)
    until(lambda: at_rest(engine))
    assert cpu_s(engine) - before < whole_s / 4, "in CPU, of which a busy machine takes no more"


def test_a_client_that_leaves_before_a_whole_answer_frees_its_slot_and_the_engine(served: Process) -> None:
    engine = engine_of(served)
    with stopped(engine):
        connection = http.client.HTTPConnection("127.0.0.1", served.port)
        connection.request("POST", "/models/demo/invoke", json.dumps(LONG))
        until(lambda: served.ping()["in_flight"] == 1)
        connection.close()
        until(lambda: served.ping()["in_flight"] == 0)
    until(lambda: at_rest(engine))  # llama.cpp looks once a second whether anyone still waits for a whole answer


def test_unloading_gives_the_memory_back_and_an_engine_that_dies_comes_back(tmp_path: Path) -> None:
    with process("--multi-model", "--memory-limit-mb", "200", "--queue-timeout-s", "5") as each:
        each.ready()
        assert each.call("POST", "/models", {"model_name": "a", "url": str(DEMO)}).status == 200
        assert each.call("POST", "/models", {"model_name": "b", "url": str(DEMO)}).status == 200
        refused = each.call("POST", "/models", {"model_name": "c", "url": str(DEMO)})
        assert (refused.status, refused.code) == (507, "insufficient_memory")
        assert each.call("POST", "/models/a/invoke", QUESTION).status == 200
        first, second = children(each.process.pid)
        assert each.call("DELETE", "/models/a").status == 200
        assert not alive(first)
        assert each.call("POST", "/models/b/invoke", QUESTION).status == 200
        assert each.call("POST", "/models", {"model_name": "c", "url": str(DEMO)}).status == 200

        response = each.open("POST", "/models/b/invoke", {**LONG, "stream": True})
        got = events(response)
        assert next(got) == ": started queue_ms=0"
        os.kill(second, signal.SIGKILL)
        last = list(got)[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_failed"
        assert each.call("POST", "/models/c/invoke", QUESTION).status == 200, "the others do not notice"
        until(lambda: each.call("POST", "/models/b/invoke", QUESTION).status == 200)


def test_an_engine_that_stands_still_is_seen_and_brought_back_and_those_who_come_later_are_served() -> None:
    with process("--model", f"demo={DEMO}", "--capacity", "2") as each:
        each.ready()
        streamed = events(each.open("POST", "/models/demo/invoke", {**LONG, "stream": True}))
        assert next(streamed) == ": started queue_ms=0"
        whole: list[Answer] = []
        other = threading.Thread(target=lambda: whole.append(each.call("POST", "/models/demo/invoke", LONG)))
        other.start()
        until(lambda: each.ping()["in_flight"] == 2)
        before = engine_of(each)
        os.kill(before, signal.SIGSTOP)  # nobody ever wakes it
        until(lambda: each.ping()["status"], lambda status: status == "engine_restarting")
        assert json.loads(list(streamed)[-1].removeprefix("data: "))["error"]["code"] == "engine_failed"
        other.join(PATIENCE_S)
        assert [(answer.status, answer.code) for answer in whole] == [(502, "engine_failed")]
        until(lambda: each.ping()["status"], lambda status: status == "ok")
        assert not alive(before)
        assert ask(each, QUESTION)


def test_an_engine_that_works_for_longer_than_one_may_stand_still_is_not_ended() -> None:
    with process("--model", f"demo={DEMO}", "--stall-timeout-s", "3") as each:
        each.ready()
        before = engine_of(each)
        end = time.monotonic() + 3 + 2 * PULSE_EVERY_S
        while time.monotonic() < end:
            assert ask(each, LONG)
        assert engine_of(each) == before


def test_no_word_of_a_prompt_or_an_answer_is_logged(tmp_path: Path) -> None:
    each = Process("--model", f"demo={DEMO}", "--instance-id", "i-7").ready()
    said = []
    for stream in (False, True):
        body = {"messages": [{"role": "user", "content": f"What is Cloister? {SECRET}"}], "stream": stream}
        attributes = "request=r-42;tenant=tenant-x"
        answer = each.call("POST", "/invocations", body, {"X-Amzn-SageMaker-Custom-Attributes": attributes})
        said.append(answer.status)
    each.call("POST", "/invocations", {"messages": SECRET})
    each.call("POST", "/invocations", SECRET.encode())
    for field in ("grammar", "reasoning_format", "tools"):
        each.call("POST", "/invocations", {**QUESTION, field: SECRET})
    code, lines, complaint = each.finish()
    assert (code, said) == (0, [200, 200])
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 200] + [400] * 5
    assert {line["instance"] for line in requests} == {"i-7"}
    assert requests[0]["request"] == "r-42"
    assert requests[0]["op"] == "chat.completions"
    assert requests[0]["tokens"] > 0
    assert {"queue_ms", "duration_ms", "model", "stream"} <= set(requests[0])
    assert not re.search(f"{SECRET}|tenant-x|Cloister", json.dumps(lines) + complaint)


def test_the_container_takes_its_engines_along_even_if_it_is_killed() -> None:
    each = Process("--model", f"demo={DEMO}").ready()
    (engine,) = children(each.process.pid)
    socket = Path(Path(f"/proc/{engine}/cmdline").read_text().split("\0")[3])
    assert socket.is_socket()
    each.process.kill()
    each.process.communicate()
    until(lambda: not alive(engine))
    assert not socket.parent.exists()
