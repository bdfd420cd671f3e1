"""A whole answer, judged: every text in it. Pure."""

from typing import Any

import msgspec

from guard.bodies import Judge, NotUnderstood, texts

_object = msgspec.json.Decoder(dict[str, Any])


def judged(data: bytes, judge: Judge) -> bytes:
    """As it may be sent. Raises NotAllowed, NotUnderstood."""
    said = parsed(data)
    judge_all(said, judge)
    return msgspec.json.encode(said)


def parsed(data: bytes) -> dict[str, Any]:
    """Raises NotUnderstood for what is no JSON object."""
    try:
        return _object.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotUnderstood from None


def judge_all(node: dict[str, Any], judge: Judge) -> None:
    """Everything below it, each text by itself."""
    _look_at_tools(node, judge)
    judge.whole_texts(node)


def _look_at_tools(node: Any, judge: Judge) -> None:
    """At which it calls; and past what would spell its text once more."""
    if isinstance(node, list):
        for each in node:
            _look_at_tools(each, judge)
        return
    if not isinstance(node, dict):
        return
    judge.leave_out_pieces(node)
    for name, value in node.items():
        if name in texts.CALLS and isinstance(value, dict) and isinstance(value.get("name"), str):
            judge.tool(value["name"])
        elif name == "tool_calls" and isinstance(value, list):
            for each in value:  # of Cohere's, which say it themselves
                if isinstance(each, dict) and isinstance(each.get("name"), str):
                    judge.tool(each["name"])
        elif name == "name" and node.get("type") in ("tool_use", "server_tool_use", "mcp_tool_use"):
            judge.tool(str(value))
        _look_at_tools(value, judge)
