"""The same container on vLLM, without a GPU. Opt-in: it needs 3.5 GB of disk and about a minute.

tests/images/vllm_on_cpu.sh .local/vllm
PATH="$PWD/.local/vllm/bin:$PATH" python -m pytest -m vllm tests/images/test_vllm.py
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.houses import DEMO, Answer, Process, alive, events, process
from tests.patience import until

pytestmark = pytest.mark.vllm

ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
QUESTION = {"messages": [{"role": "user", "content": "What is Cloister?"}], "temperature": 0, "max_tokens": 24}
LONG = {**QUESTION, "max_tokens": 1900, "ignore_eos": True}
ATTRIBUTES = {"X-Amzn-SageMaker-Custom-Attributes": "tenant=t1;request=r-1"}


@pytest.fixture(scope="module")
def served() -> Iterator[Process]:
    assert shutil.which("vllm"), "vLLM is not installed: see the top of this file"
    flags = ["--engine", "vllm", "--model", f"demo={DEMO}", "--capacity", "2", "--engine-arg=--enforce-eager"]
    with process(*flags, environ=ON_CPU) as each:
        assert each.process.stderr
        errors = each.process.stderr  # vLLM talks: a full pipe would stop it
        threading.Thread(target=lambda: [None for _ in errors], daemon=True).start()
        yield each.ready()


def engine_processes(pid: int) -> list[int]:
    """Everything below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *engine_processes(int(child))]
    return found


def cpu_s(pids: list[int]) -> float:
    used = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # vLLM compiles in processes that come and go
        used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def test_the_demo_model_answers_by_its_pools_name_and_by_its_own(served: Process) -> None:
    for body in (QUESTION, {**QUESTION, "model": "any-pool"}):
        answer = served.call("POST", "/invocations", body, ATTRIBUTES)
        assert answer.status == 200, answer.body
        assert "Cloister" in answer.json["choices"][0]["message"]["content"]
        assert answer.json["usage"]["completion_tokens"] == 24
    assert served.call("POST", "/v1/completions", {"prompt": "Cloister", "max_tokens": 2}).status == 200


def test_a_stream_comes_token_by_token_with_its_usage(served: Process) -> None:
    stream: dict[str, Any] = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    started, *said, usage, done = events(served.open("POST", "/invocations", stream, ATTRIBUTES))
    assert started == ": started queue_ms=0"
    assert len(said) > 12
    assert json.loads(usage.removeprefix("data: "))["usage"]["completion_tokens"] == 24
    assert done == "data: [DONE]"


def test_fields_the_container_does_not_know_reach_vllm(served: Process) -> None:
    body = {**QUESTION, "logprobs": True, "top_logprobs": 2, "top_k": 1}
    answer = Answer(served.open("POST", "/invocations", body, timeout_s=120))  # it compiles something first
    assert answer.json["choices"][0]["logprobs"]["content"]
    refused = served.call("POST", "/invocations", {**QUESTION, "top_p": 7})
    assert refused.status == 400
    assert refused.code


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_vllm_itself(served: Process, stream: bool) -> None:
    pids = engine_processes(served.process.pid)
    if stream:
        response = served.open("POST", "/invocations", {**LONG, "stream": True})
        assert next(events(response)) == ": started queue_ms=0"
        response.close()
    else:
        with pytest.raises(TimeoutError):
            served.open("POST", "/invocations", LONG, timeout_s=0.5)
    until(lambda: served.ping()["in_flight"] == 0)

    def quiet() -> bool:
        before = cpu_s(pids)
        time.sleep(1)
        return cpu_s(pids) - before < 0.2

    soon = time.monotonic() + 5  # the whole answer takes far longer
    while not quiet():
        assert time.monotonic() < soon


# Last: the engine is killed here.
def test_an_engine_that_dies_mid_stream_is_said_so_and_comes_back(served: Process) -> None:
    got = events(served.open("POST", "/invocations", {**LONG, "stream": True}))
    assert next(got) == ": started queue_ms=0"
    (core,) = [
        pid for pid in engine_processes(served.process.pid) if "EngineCor" in Path(f"/proc/{pid}/comm").read_text()
    ]
    os.kill(core, signal.SIGKILL)
    assert "error" in json.loads(list(got)[-1].removeprefix("data: "))
    until(lambda: served.call("GET", "/ping").status == 503)
    assert served.call("POST", "/invocations", QUESTION).status == 502
    until(lambda: served.call("GET", "/ping").status == 200)
    assert served.call("POST", "/invocations", QUESTION).status == 200


def test_no_engine_outlives_a_killed_container(served: Process) -> None:
    pids = engine_processes(served.process.pid)
    assert pids
    served.process.kill()
    until(lambda: not any(alive(pid) for pid in pids))
