"""A request, judged: its texts, the names of its tools, its length. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from chalicelib.call import BEDROCKS, Operation
from chalicelib.guardrails import LENGTH, Judge, texts
from chalicelib.refusal import ContentRefused

NO_PROMPT = frozenset((
    *("model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "service_tier", "metadata"),
    *("tools", "tool_choice", "toolConfig", "functions", "function_call", "parallel_tool_calls", "mcp_servers"),
    *("response_format", "output_config", "outputConfig", "include", "truncation", "modalities"),
    *("anthropic_version", "anthropic_beta", "requestMetadata", "inferenceConfig", "inferenceProfile", "schemaVersion"),
    *("reasoning", "reasoning_effort", "thinking", "previous_response_id", "encoding_format", "contentType", "accept"),
))  # fmt: skip
"""Members that never reach the prompt; what tools are described as is not what anybody asks."""

AS_TOKENS = ("prompt", "input", "prompt_token_ids")
TOKENS = "The rules of this tenant are for texts, and this prompt is written as numbers of tokens. Send it as text."

_BODY = "body"  # of what Bedrock's own operations ask

Fields = Mapping[str, msgspec.Raw]


def judged(fields: Fields, operation: Operation, judge: Judge) -> Fields:
    """The request as it may go on; the same object where nothing was redacted. Raises ContentRefused."""
    if operation in BEDROCKS:
        inner = _inner(bytes(fields[_BODY]))
        changed = _judged(inner, judge)
        result = fields if changed is inner else {**fields, _BODY: msgspec.Raw(msgspec.json.encode(changed))}
    else:
        result = _judged(fields, judge)
    most = judge.guard.rules.max_prompt_bytes
    if most is not None and judge.judged_bytes > most:
        raise ContentRefused(
            f"The prompt has {judge.judged_bytes:,} bytes of text, and this tenant's rules allow {most:,}. Shorten it.",
            symptom=LENGTH,
        )
    return result


def _inner(body: bytes) -> Fields:
    """A body may be a text that holds it."""
    if body[:1] == b'"':
        body = msgspec.json.decode(body, type=str).encode()
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def _judged(fields: Fields, judge: Judge) -> Fields:
    for name in offered(fields):
        judge.tool(name)
    changed: dict[str, msgspec.Raw] = {}
    for name, raw in fields.items():
        written = bytes(raw)
        if name in NO_PROMPT or written[:1] not in (b'"', b"[", b"{"):
            continue
        said = {name: msgspec.json.decode(written)}
        if name in AS_TOKENS and _tokens(said[name]):
            raise ContentRefused(TOKENS, symptom="tokens")
        before = sum(judge.findings.values())
        _walk(said, judge)
        if sum(judge.findings.values()) != before:
            changed[name] = msgspec.Raw(msgspec.json.encode(said[name]))
    return {**fields, **changed} if changed else fields


def _walk(node: Any, judge: Judge) -> None:
    def visit(path: texts.Path, text: str) -> str:
        return judge.json(text) if path[-1] in texts.ARGUMENTS else judge.text(text)

    texts.walk(node, visit, judge.document)


def offered(fields: Fields) -> Iterator[str]:
    """The names of the tools that a model is offered; the kind of those that have no other name."""
    config = _decoded(fields, "toolConfig")
    listed = config.get("tools") if isinstance(config, dict) else None
    for tools in (_decoded(fields, "tools"), _decoded(fields, "functions"), listed):
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict):
                yield _name(tool)


def _name(tool: dict[str, Any]) -> str:
    kinds = (tool.get(kind) for kind in ("function", "custom", "toolSpec", "systemTool"))
    inner = next((each for each in kinds if isinstance(each, dict)), tool)
    return str(inner.get("name") or tool.get("type") or "")


def _decoded(fields: Fields, name: str) -> Any:
    return msgspec.json.decode(fields[name]) if name in fields else None


def _tokens(prompt: Any) -> bool:
    """Whether a prompt is written as tokens, or one of several is."""
    if isinstance(prompt, list):
        return any(_tokens(each) for each in prompt)
    return isinstance(prompt, int)
