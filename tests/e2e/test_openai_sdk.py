"""The official `openai` package, unmodified, against the whole running system."""

import threading
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.admin import admin, entries, in_flight, new_tenant
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

QUESTION = [{"role": "user", "content": "What is Cloister?"}]
CHAT_POOLS = ["demo", "demo-direct", "demo-multi"]


def client(
    system: RunningSystem, key: str | None = None, tenant: str | None = None
) -> Any:  # the SDK's overloads are for literals
    base = f"{system.base_url}/tenants/{tenant or system.tenant}/v1"
    return OpenAI(base_url=base, api_key=key or system.api_key, max_retries=0, timeout=PATIENCE_S)


@pytest.mark.parametrize("pool", CHAT_POOLS)
def test_a_chat_is_answered(running_system: RunningSystem, pool: str) -> None:
    answer = client(running_system).chat.completions.create(model=pool, messages=QUESTION, temperature=0, max_tokens=64)
    assert "Cloister" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("pool", CHAT_POOLS)
def test_a_chat_is_streamed_with_its_usage(running_system: RunningSystem, pool: str) -> None:
    chat = client(running_system).chat.completions
    whole = chat.create(model=pool, messages=QUESTION, temperature=0, max_tokens=48)
    stream = chat.create(
        model=pool, messages=QUESTION, temperature=0, max_tokens=48, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(chunks) >= 32
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_usage_comes_only_where_it_was_asked_for(running_system: RunningSystem) -> None:
    stream = client(running_system).chat.completions.create(model="demo", messages=QUESTION, max_tokens=8, stream=True)
    assert all(chunk.choices and chunk.usage is None for chunk in stream)


def test_a_multi_model_pool_says_that_its_stream_was_buffered(running_system: RunningSystem) -> None:
    raw = client(running_system).chat.completions.with_raw_response
    for pool, said in (("demo-multi", "buffered"), ("demo", None)):
        answer = raw.create(model=pool, messages=QUESTION, max_tokens=4, stream=True)
        assert answer.headers.get("X-Stream") == said


def test_a_prompt_is_continued(running_system: RunningSystem) -> None:
    answer = client(running_system).completions.create(model="demo", prompt="Cloister is", max_tokens=8, temperature=0)
    assert answer.choices[0].text
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8


def test_texts_are_embedded(running_system: RunningSystem) -> None:
    texts = ["a cat sat on the mat", "a kitten rested on the rug", "the budget of the ministry grew"]
    answer = client(running_system).embeddings.create(model="embed", input=texts)
    vectors = [each.embedding for each in answer.data]
    assert {len(vector) for vector in vectors} == {384}

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])


def test_models_are_listed_and_looked_up(running_system: RunningSystem) -> None:
    models = client(running_system).models
    assert {model.id for model in models.list()} == {*CHAT_POOLS, "claude", "nova", "embed"}
    assert models.retrieve("demo").id == "demo"
    with pytest.raises(openai.NotFoundError):
        models.retrieve("bedrock")  # it passes models' own bodies on, and is none itself


def test_models_answer_by_the_names_that_programs_have_for_them(running_system: RunningSystem) -> None:
    names = {
        "meta-llama/Llama-3.1-8B": "demo",
        "gpt-4o": "demo-direct",
        "claude-sonnet-4:latest": "demo-multi",
        "claude-sonnet-4-5": "claude",
        "amazon/nova": "nova",
        "text-embedding-3-small": "embed",
    }
    pools = [*CHAT_POOLS, "claude", "nova", "embed"]
    key = new_tenant(running_system, "named", pools=pools, aliases=names)
    sdk = client(running_system, key, "named")
    assert {model.id for model in sdk.models.list()} == {*names, *pools}
    for name, pool in names.items():
        assert sdk.models.retrieve(name).id == name
        if pool == "embed":
            assert sdk.embeddings.create(model=name, input="hi").model == name
            continue
        asked = {"model": name, "messages": QUESTION, "max_tokens": 4}
        assert sdk.chat.completions.create(**asked).model == name
        assert {chunk.model for chunk in sdk.chat.completions.create(**asked, stream=True)} == {name}
    assert [entry["pool"] for entry in entries(running_system, "named", key)][-1] == "demo"


def test_unknown_fields_reach_the_engine(running_system: RunningSystem) -> None:
    chat = client(running_system).chat.completions

    def said(seed: int) -> str:
        answer = chat.create(
            model="demo",
            messages=QUESTION,
            seed=seed,
            temperature=4,
            top_p=1,
            max_tokens=24,
            extra_body={"top_k": 0, "min_p": 0},
        )
        return str(answer.choices[0].message.content)

    assert said(7) == said(7)
    assert len({said(seed) for seed in range(5)}) > 1
    stopped = chat.create(model="demo", messages=QUESTION, temperature=0, stop=[" is"], max_tokens=32)
    assert " is" not in stopped.choices[0].message.content
    detailed = chat.create(model="demo", messages=QUESTION, logprobs=True, top_logprobs=2, max_tokens=4)
    assert detailed.choices[0].logprobs.content


def test_errors_are_the_sdks_own(running_system: RunningSystem) -> None:
    messages = QUESTION
    with pytest.raises(openai.AuthenticationError):
        client(running_system, key="ck_demo.aaaaaaaa_" + "x" * 43).models.list()
    with pytest.raises(openai.NotFoundError):
        client(running_system).chat.completions.create(model="no-such-model", messages=messages)
    with pytest.raises(openai.NotFoundError):
        client(running_system, tenant="somebody-else").models.list()
    with pytest.raises(openai.BadRequestError) as refused:
        client(running_system).chat.completions.create(model="demo", messages=[])
    assert refused.value.param == "messages"
    with pytest.raises(openai.BadRequestError):
        client(running_system).chat.completions.create(model="embed", messages=messages)


def test_a_viewer_may_not_chat(running_system: RunningSystem) -> None:
    new_tenant(running_system, "sdk-viewer")
    key = admin(running_system, "POST", "/tenants/sdk-viewer/keys", {"role": "viewer"})["api_key"]
    viewer = client(running_system, key, "sdk-viewer")
    assert viewer.models.retrieve("demo").id == "demo"
    with pytest.raises(openai.PermissionDeniedError):
        viewer.chat.completions.create(model="demo", messages=QUESTION)


def test_a_rate_denies_with_the_exact_wait(running_system: RunningSystem) -> None:
    limits = {
        "rates": [{"name": "slow", "unit": "requests", "count": 1, "period_ms": 3_600_000, "burst": 3}],
        "budgets": [],
        "in_flight": 4,
    }
    key = new_tenant(running_system, "sdk-slow", limits=limits)
    chat = client(running_system, key, "sdk-slow").chat.completions
    answered = 0
    with pytest.raises(openai.RateLimitError) as refused:
        for _ in range(4):
            chat.create(model="demo-direct", messages=QUESTION, max_tokens=1)
            answered += 1
    headers = refused.value.response.headers
    assert 0 < int(headers["Retry-After"]) <= 3_600
    assert refused.value.response.json()["error"]["limit"] == "slow"
    assert '"slow"' in headers["RateLimit"]
    # A burst of 3 is short of it by the slack: the third passes once a quarter of a second is over, and no fourth does.
    assert answered in (2, 3)
    # The denied call was not admitted: it has no entry.
    assert len(entries(running_system, "sdk-slow", key)) == answered


def test_an_exhausted_budget_is_insufficient_quota(running_system: RunningSystem) -> None:
    budget = {"name": "own", "unit": "requests", "limit": 1, "window": "month", "source": "tenant"}
    key = new_tenant(running_system, "sdk-broke", limits={"rates": [], "budgets": [budget], "in_flight": 4})
    chat = client(running_system, key, "sdk-broke").chat.completions
    chat.create(model="demo-direct", messages=QUESTION, max_tokens=1)
    with pytest.raises(openai.RateLimitError) as refused:
        chat.create(model="demo-direct", messages=QUESTION, max_tokens=1)
    assert refused.value.code == "insufficient_quota"


def test_many_at_once_are_all_answered_and_settled(running_system: RunningSystem) -> None:
    key = new_tenant(running_system, "sdk-many")
    chat = client(running_system, key, "sdk-many").chat.completions
    failures: list[Exception] = []

    def one() -> None:
        try:
            for _ in range(3):
                chat.create(model="demo", messages=QUESTION, max_tokens=4)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    found = entries(running_system, "sdk-many", key)
    assert len(found) == 24
    assert {entry["outcome"] for entry in found} == {"completed"}
    assert in_flight(running_system, "sdk-many", key) == 0
