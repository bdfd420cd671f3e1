"""By whichever door a model is asked, whole or as a stream: its answer shows nothing that a rule forbids."""

import base64
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import ScriptedEngine, Step
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.pool import Target
from guard import Rule, Rules
from tests.api.test_leaving import Client, play
from tests.api.test_permissions import TABLE
from tests.api.test_silent_models import NEVER, front

ANSWERED_IN_WORDS = [
    route for route in ROUTES if route.infers and not route.path.endswith(("/embeddings", "/count_tokens"))
]
RULES = Rules(rules=(Rule("secret", r"word-\d{4}", "redact", "out"), Rule("bomb", "boom!", "refuse", "out")))
SAID = "it is word-1234 and no more"


def _chat(delta: dict[str, Any], ends: str | None = None) -> Any:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": ends}]}


def _completion(text: str, ends: str | None = None) -> Any:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": ends}]}


def _chunks(operation: str, pieces: list[str]) -> list[Any]:
    match operation:
        case "chat.completions":
            return [*(_chat({"content": piece}) for piece in pieces), _chat({}, "stop")]
        case "completions":
            return [*map(_completion, pieces), _completion("", "stop")]
        case "converse":
            deltas = [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": piece}}} for piece in pieces]
            ends = [{"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}}]
            return [{"messageStart": {"role": "assistant"}}, *deltas, *ends]
    return [
        *({"generation": piece, "stop_reason": None} for piece in pieces),
        {"generation": "", "stop_reason": "stop"},
    ]


def _whole(operation: str, text: str) -> Any:
    match operation:
        case "chat.completions":
            return {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
            }
        case "completions":
            return {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
        case "converse":
            return {"output": {"message": {"role": "assistant", "content": [{"text": text}]}}, "stopReason": "end_turn"}
    return {"generation": text, "stop_reason": "stop"}


class Model:
    """Says a text, in pieces of three letters where it is streamed; of the dialects, those that engines speak."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, _: Target, call: Call) -> Iterable[Step]:
        pieces = re.findall("...|.+", self._text)
        said = _chunks(call.operation, pieces) if call.stream else [_whole(call.operation, self._text)]
        return (Started("i"), *(Delta(msgspec.json.encode(each), 1) for each in said), Finished(Usage(1, len(said))))


def shown(body: bytes) -> str:
    """All that a client finds in it: texts in pieces put together, and what AWS's event streams hold in base64."""
    held = re.findall(rb'"bytes":"([\w+/=]*)"', body)
    return (body + b"".join(map(base64.b64decode, held))).decode(errors="replace")


def asked(route: Route, text: str, *, stream: bool) -> str:
    there = front(gaps=NEVER)
    there.deployment.engine = ScriptedEngine(
        Model(text), spoken=("chat.completions", "completions", "converse", "invoke")
    )
    there.deployment.tenancy.guardrails.put("acme", RULES)
    headers = {"x-tenant-id": "acme"}
    if route.auth == "signed":
        headers["authorization"] = "AWS4-HMAC-SHA256 whatever"
    path = route.path.format(tenant="acme", model="model-a")
    got: list[Client] = []

    async def scene() -> None:
        body = TABLE[route.called].body or {}
        got.append(Client(there, stream=stream, path=path, body=body, headers=headers))
        await got[0].exchange

    play(there, scene)
    return shown(got[0].body)


every_door = pytest.mark.parametrize("route", ANSWERED_IN_WORDS, ids=lambda route: route.name)


@every_door
@pytest.mark.parametrize("stream", [True, False])
def test_what_a_rule_forbids_is_shown_by_no_door(route: Route, stream: bool) -> None:
    told = asked(route, SAID, stream=stream)
    assert "[secret]" in told
    assert not re.search(r"1234|word|wor|rd-", told)


@every_door
@pytest.mark.parametrize("stream", [True, False])
def test_what_a_rule_refuses_ends_every_doors_answer(route: Route, stream: bool) -> None:
    told = asked(route, "so: boom! and more", stream=stream)
    assert not re.search(r"boo|om!|and more", told)
    assert "against the rules" in told
