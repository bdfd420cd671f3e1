"""A request, judged: its texts, its tools, its length. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from guard.bodies import LENGTH, Judge, NotAllowed

NO_PROMPT = frozenset((
    *("model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "service_tier", "metadata"),
    *("tool_choice", "function_call", "parallel_tool_calls", "mcp_servers", "include", "truncation", "modalities"),
    *("anthropic_version", "anthropic_beta", "requestMetadata", "inferenceConfig", "inferenceProfile", "schemaVersion"),
    *("thinking", "previous_response_id", "encoding_format", "contentType", "accept"),
))  # fmt: skip
"""Members that never reach the prompt."""

DEFINITIONS = frozenset(("tools", "functions", "toolConfig", "response_format", "output_config", "outputConfig"))
"""What a program tells a model of its tools and of its answers' form: nothing that anybody asks. Of tools the names are
judged, by the rules of tools."""

TALK = frozenset(("messages", "input", "prompt", "system", "instructions"))
"""Of known form. Whatever else reaches a prompt (documents, a template's own) does so as a whole: with its numbers and
the names of its members, which are judged, too."""

AS_TOKENS = ("prompt", "input", "prompt_token_ids", "input_ids")
AS_VECTORS = ("prompt_embeds", "input_embeds")
TOKENS = "The rules of this tenant are for texts, and this prompt is written as numbers of tokens. Send it as text."

Fields = Mapping[str, msgspec.Raw]


def judged(fields: Fields, judge: Judge, within: str = "") -> Fields:
    """The request as it may go on; the same object where nothing was redacted.

    `within`: the member that holds what is asked, where one does. Raises NotAllowed.
    """
    if within:
        body = _body(bytes(fields[within]))
        inner = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        changed = _judged(inner, judge)
        same = changed is inner and not _says_more(body, inner)
        result = fields if same else {**fields, within: msgspec.Raw(msgspec.json.encode(changed))}
    else:
        result = _judged(fields, judge)
    most = judge.guard.rules.max_prompt_bytes
    if most is not None and judge.judged_bytes > most:
        raise NotAllowed(
            f"The prompt has {judge.judged_bytes:,} bytes of text, and this tenant's rules allow {most:,}. Shorten it.",
            LENGTH,
        )
    return result


def _body(raw: bytes) -> bytes:
    """A body may be a text that holds it."""
    return msgspec.json.decode(raw, type=str).encode() if raw[:1] == b'"' else raw


def _says_more(written: bytes, read: Any) -> bool:
    """Whether an object in it has a member twice, of which one was read: a server may read the other."""
    if msgspec.json.encode(read) == written:  # as most programs write it
        return False
    members: list[int] = []  # of each object, that are there more than once
    json.loads(written, object_pairs_hook=lambda pairs: members.append(len(pairs) - len(dict(pairs))))
    return any(members)


def _judged(fields: Fields, judge: Judge) -> Fields:
    changed: dict[str, msgspec.Raw] = {}
    for name, raw in fields.items():
        written = bytes(raw)
        if name in NO_PROMPT or written[:1] not in (b'"', b"[", b"{"):
            continue
        said = {name: msgspec.json.decode(written)}
        if judge.reads and (name in AS_VECTORS or (name in AS_TOKENS and _tokens(said[name]))):
            raise NotAllowed(TOKENS, "tokens")
        if name not in TALK:
            for tool in offered(said):
                judge.tool(tool)
        more = _says_more(written, said[name])
        if name in DEFINITIONS:
            if more:
                changed[name] = msgspec.Raw(msgspec.json.encode(said[name]))
            continue
        before = judge.findings.total()
        if name in TALK or isinstance(said[name], str):
            judge.whole_texts(said)
        else:
            said[name] = judge.document(said[name])
        if more or judge.findings.total() != before:
            changed[name] = msgspec.Raw(msgspec.json.encode(said[name]))
    return {**fields, **changed} if changed else fields


def offered(node: Any) -> Iterator[str]:
    """The names of the tools that a model is offered: all that each has, or else its kind.

    Servers differ in which name they take; and in where tools stand: a model's own are in what passes by Converse.
    """
    if isinstance(node, list):
        for each in node:
            yield from offered(each)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name in ("tools", "functions") and isinstance(value, list):
            for tool in value:
                if isinstance(tool, dict):
                    yield from _names(tool)
        else:
            yield from offered(value)


def _names(tool: dict[str, Any]) -> Iterator[str]:
    inner = (tool.get(kind) for kind in ("function", "custom", "toolSpec", "systemTool"))
    named = [each["name"] for each in (tool, *inner) if isinstance(each, dict) and each.get("name")]
    yield from map(str, named or [tool.get("type") or ""])
    if "tools" in tool:  # in groups
        yield from offered({"tools": tool["tools"]})


def _tokens(prompt: Any) -> bool:
    """Whether a prompt is written as tokens, or one of several is."""
    if isinstance(prompt, list):
        return any(_tokens(each) for each in prompt)
    return isinstance(prompt, int | float)  # servers take 7.0 for 7
