"""A server like OpenAI's whose model calls tools: it asks for the weather of two cities and tells what it was told."""

import json
import re
from collections.abc import Callable
from typing import Any

from tests.engines.servers import LAST_CHUNK, Request, Wire, chunk, stream_head, whole

CITIES = ("Bern", "Basel")
LOOKING = "Let me look."
KNOWN: dict[str, Any] = {"city": "Bern", "rains": True}
USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}


def answer(request: Request, wire: Wire) -> None:
    """A handler for `serving`."""
    answer_with(_message, request, wire)


def answer_with(says: Callable[[dict[str, Any]], dict[str, Any]], request: Request, wire: Wire) -> None:
    """The same, for another model: `says` is its message to what is asked."""
    if request.method == "GET":
        return wire.send(whole(b'{"status":"ok"}'))
    asked = json.loads(request.body)
    message = says(asked)
    finish = "tool_calls" if "tool_calls" in message else "stop"
    head: dict[str, Any] = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": asked["model"]}
    if not asked.get("stream"):
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish}
        body = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return wire.send(whole(json.dumps(body).encode()))
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in _deltas(message)]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    bodies = [{**head, "object": "chat.completion.chunk", "choices": [each]} for each in choices]
    bodies.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    events = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in bodies]
    return wire.send(stream_head(), *(chunk(event) for event in [*events, b"data: [DONE]\n\n"]), LAST_CHUNK)


def _message(asked: dict[str, Any]) -> dict[str, Any]:
    results = [turn["content"] for turn in asked["messages"] if turn["role"] == "tool"]
    tools = {each["function"]["name"]: each["function"]["parameters"] for each in asked.get("tools", ())}
    if asked.get("response_format", {}).get("type") == "json_schema":
        return {"role": "assistant", "content": json.dumps(KNOWN)}
    if results and LOOKING not in [_text(turn.get("content") or "") for turn in asked["messages"]]:
        return {"role": "assistant", "content": "I never looked."}  # what it said before was lost
    if results or not tools:
        text = ", ".join(f"{city}: {_text(result)}" for city, result in zip(CITIES, results, strict=False))
        return {"role": "assistant", "content": text or "I know of the weather only."}
    if isinstance(asked.get("tool_choice"), dict):
        name = asked["tool_choice"]["function"]["name"]
        given = [{member: KNOWN[member] for member in tools[name]["properties"]}]
    else:
        name, given = "weather", [{"city": city} for city in CITIES]
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(each)}}
        for number, each in enumerate(given)
    ]
    return {"role": "assistant", "content": LOOKING, "tool_calls": calls}


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The text by its words, a call's arguments in two pieces."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in re.findall(r"\s*\S+", message["content"])]
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        arguments = function["arguments"]
        begun = {**call, "index": index, "function": {**function, "arguments": arguments[:3]}}
        rest = {"index": index, "function": {"arguments": arguments[3:]}}
        deltas += [{"tool_calls": [each]} for each in (begun, rest)]
    return deltas
