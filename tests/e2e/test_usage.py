"""Usage through the running system: chats by the official `openai` package, and what their tenant is told it used."""

import csv
import io
import json
from typing import Any

from openai import OpenAI

from tests.e2e.admin import bearer, http, new_tenant, settled
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

TENANT = "usage-told"


def told(system: RunningSystem, key: str, what: str) -> bytes:
    status, _, answer = http("GET", f"{system.base_url}/tenants/{TENANT}/v1/{what}", None, bearer(key))
    assert status == 200, answer
    return answer


def test_usage_is_what_the_answers_said_and_what_the_ledger_holds(running_system: RunningSystem) -> None:
    key = new_tenant(running_system, TENANT)
    base_url = f"{running_system.base_url}/tenants/{TENANT}/v1"
    chat: Any = OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=PATIENCE_S).chat.completions
    question = [{"role": "user", "content": "What is Cloister?"}]
    answers = [chat.create(model=pool, messages=question, max_tokens=8) for pool in ("demo", "demo-direct", "demo")]
    streamed = list(
        chat.create(model="demo", messages=question, max_tokens=8, stream=True, stream_options={"include_usage": True})
    )
    usages = [answer.usage for answer in (*answers, streamed[-1])]
    ledger = settled(running_system, TENANT, key, len(usages))

    rows = json.loads(told(running_system, key, "usage?group_by=model,key,operation&bucket=hour"))["data"]
    assert {row["group"]["model"] for row in rows} == {"demo", "demo-direct"}
    assert {row["group"]["key"] for row in rows} == {entry["key"] for entry in ledger} != {""}
    assert {row["group"]["operation"] for row in rows} == {"chat.completions"}
    assert sum(row["requests"] for row in rows) == len(ledger) == 4
    assert sum(row["tokens_in"] for row in rows) == sum(usage.prompt_tokens for usage in usages)
    assert sum(row["tokens_out"] for row in rows) == sum(usage.completion_tokens for usage in usages)
    assert sum(row["micro_usd"] for row in rows) == sum(entry["charged"]["micro_usd"] for entry in ledger)
    lines = list(csv.DictReader(io.StringIO(told(running_system, key, "requests?format=csv").decode())))
    assert [line["lease_id"] for line in lines] == [entry["lease_id"] for entry in ledger]
    assert json.loads(told(running_system, key, "limits"))["in_flight"]["used"] == 0
