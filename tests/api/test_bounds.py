"""What would keep a model's engine for too long is refused at every door, before anything is reserved."""

from typing import Any

import pytest

from chalicelib.call import Call
from tests.small_deployments import Gateway

HOSTILE = {"type": "string", "pattern": "^(a|a)*{2000}$"}
HI = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "stream": False}
SHAPED = {"type": "json_schema", "json_schema": {"name": "x", "schema": HOSTILE}}
CROWD = {"x": [{f"m{index}": 1 for index in range(3_000)}]}


@pytest.mark.parametrize(
    ("path", "body", "member"),
    [
        ("/inference", {**HI, "response_format": SHAPED}, "response_format"),
        ("/tenants/acme/v1/chat/completions", {**HI, "response_format": SHAPED}, "response_format"),
        ("/tenants/acme/v1/chat/completions", {**HI, "guided_json": HOSTILE}, "guided_json"),
        ("/tenants/acme/v1/chat/completions", {**HI, "grammar": 'root ::= "a"? ' + "*{90}" * 2}, "grammar"),
        ("/tenants/acme/v1/chat/completions", {**HI, "grammar": 'root ::= "x" root "a" | "x" root "b"'}, "grammar"),
        ("/tenants/acme/v1/chat/completions", {**HI, "guided_grammar": "start: x~1000\nx: /a?/"}, "guided_grammar"),
        ("/tenants/acme/v1/chat/completions", {**HI, **CROWD}, "x"),
        ("/tenants/acme/v1/chat/completions", {**HI, "repeat_last_n": 2_000_000_000}, "repeat_last_n"),
        ("/tenants/acme/v1/chat/completions", {**HI, "dry_sequence_breakers": ["b"] * 200}, "dry_sequence_breakers"),
        ("/tenants/acme/v1/chat", {**HI, **CROWD}, "x"),
        ("/tenants/acme/v1/completions", {"prompt": "hi", **CROWD}, "x"),
        ("/tenants/acme/v1/messages", {**HI, "tools": [{"name": "t", "input_schema": HOSTILE}]}, "tools"),
        ("/tenants/acme/v1/responses", {"input": "hi", "text": {"format": {**SHAPED, "schema": HOSTILE}}}, "text"),
    ],
)
def test_it_names_the_member_and_the_bound_and_nothing_runs(
    gateway: Gateway, key: str, calls: list[Call], path: str, body: dict[str, Any], member: str
) -> None:
    answer = gateway.call("POST", path, key=key, json={"model": "model-a", **body})
    assert answer.status == 400, answer.body
    said = answer.json.get("error", answer.json)
    text = said.get("detail") or said["message"]
    assert member in text and "most" in text, text
    assert member in (said.get("field"), said.get("param")) or "/messages" in path
    assert calls == []


def test_a_stranger_hears_nothing_of_bounds(gateway: Gateway, key: str) -> None:
    body = {"model": "model-a", **HI, "response_format": SHAPED}
    assert gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key + "x", json=body).status == 401
