"""Which strings of a request's or an answer's JSON are text: all of those that these names do not say are none.

So a member that nobody here knows is judged, and so is a sentence under any name. Sans-IO.
"""

import re
from collections.abc import Callable
from typing import Any

Path = tuple[str | int, ...]
"""Names of members; of things in a list, their `index`, or else their place."""

NO_TEXT = frozenset((
    *("type", "object", "status", "index", "format", "detail", "media_type", "mime_type", "encoding_format"),
    *("id", "call_id", "tool_call_id", "tool_use_id", "toolUseId", "item_id", "response_id", "file_id", "container_id"),
    "request_id",
    *("finish_reason", "native_finish_reason", "stop_reason", "stopReason", "completionReason", "matched_stop"),
    *("event_type", "generation_id"),
    *("model", "system_fingerprint", "service_tier", "amazon-bedrock-trace", "cache_control", "cachePoint"),
    *("data", "bytes", "file_data", "signature", "encrypted_content", "redactedContent", "embedding", "obfuscation"),
))  # fmt: skip
"""What programs say to each other, and what is no text but written as some: media, signatures, noise.

As long as it is one word: templates of prompts print some of it, whatever it says.
"""

ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function", "model"))
"""Any other word in their place is part of the prompt."""

MEDIA = frozenset((
    *("url", "image_url", "audio_url", "video_url", "file_url", "image", "audio", "video", "file", "b64_json"),
    *("data", "bytes", "file_data"),
))  # fmt: skip
"""Members that may hold a medium in base64. Elsewhere, what looks like one is what somebody said, or a model."""

_WORD = re.compile(r"[\w.:/+=@|-]*", re.ASCII)
_MEDIUM = re.compile(r"data:[\w.+-]*/[\w.+-]+;base64,[\w+/=-]*", re.ASCII)

CALLS = ("function", "custom", "function_call", "toolUse", "tool_call_delta")
"""Members that hold the call of a tool, and there its `name`."""

ARGUMENTS = ("arguments", "partial_json", "parameters")
"""Strings that hold JSON: what a tool is called with."""
DOCUMENTS = ("input", "json", "parameters")
"""Objects that tools are called with, and answer; elsewhere, lists and texts are called so."""

PIECES = (
    *("logprobs", "prompt_logprobs", "token_ids", "prompt_token_ids", "output_token_logprobs", "top_logprobs"),
    *("token_likelihoods", "completion_probabilities"),  # Cohere's, llama.cpp's
)
"""The same text once more, in pieces too small to be judged."""


def always_text(name: str | int) -> bool:
    """Whether any string in a member that is called so is text."""
    return isinstance(name, str) and name != "role" and name not in NO_TEXT and name not in MEDIA


def is_text(name: str | int, text: str, holder: Any) -> bool:
    """Of a string in `holder`."""
    if name == "role":
        return text not in ROLES
    if name in NO_TEXT and _WORD.fullmatch(text):
        return name == "data" and holder.get("type") == "text"  # a document, and no medium in base64
    return not (name in MEDIA and text.startswith("data:") and _MEDIUM.fullmatch(text))


def walk(node: Any, visit: Callable[[Path, str], str], document: Callable[[Any], Any], path: Path = ()) -> None:
    """Put in the place of each text below `node` what `visit` makes of it, and of each tool's input what `document`."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, str):
            if value and is_text(name, value, node):
                node[name] = visit((*path, name), value)
        elif isinstance(value, dict):
            if name in DOCUMENTS:
                node[name] = document(value)
            else:
                walk(value, visit, document, (*path, name if isinstance(node, dict) else _step(value, name)))
        elif isinstance(value, list):
            if name == "json":  # a tool's whole answer: its members are named by whoever made the tool
                node[name] = document(value)
            else:
                walk(value, visit, document, (*path, name))


def _step(thing: dict[str, Any], place: int) -> int:
    index = thing.get("index")
    return index if isinstance(index, int) else place


def joined(node: Any, path: Path, rest: str) -> bool:
    """Whether `node` has a text at this path, to which `rest` was added."""
    for name in path[:-1]:
        if isinstance(node, list):
            node = next((each for place, each in enumerate(node) if _step(each, place) == name), None)
        else:
            node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(node.get(path[-1]), str):
        return False
    node[path[-1]] += rest
    return True


def below(path: Path, text: str) -> Any:
    """`text` where `path` says, and nothing else: a list has one thing, which says its `index`."""
    if not path:
        return text
    inner = below(path[1:], text)
    if isinstance(path[0], str):
        return {path[0]: inner}
    return [{"index": path[0], **inner}] if isinstance(inner, dict) else [inner]
