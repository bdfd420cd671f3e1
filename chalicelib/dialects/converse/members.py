"""Every member that a chat may bring, and what becomes of it at Bedrock: said once, for the code and for docs/api.md.

A member arrives, or it says nothing of the answer, or the request is refused by its name: no answer is one to another
question than was asked.
"""

from collections.abc import Mapping

import msgspec

from chalicelib.refusal import Malformed

TRANSLATED = {
    "messages": "turns, with their images, calls and results; the roles `system`, `developer` and `function` too",
    "tools": "tools; `strict` stays",
    "tool_choice": "the same; with `none`, no tool is offered that was not called before",
    "functions": "tools; the answer then has one `function_call`, as its caller reads it",
    "function_call": "as `tool_choice`",
    "parallel_tool_calls": "Claude calls one tool at a time; refused as `false` where a model cannot be told",
    "response_format": "a JSON schema as Converse's own; `json_object` in words",
    "temperature": "the same, up to 1",
    "top_p": "the same",
    "top_k": "Claude and Nova; else refused",
    "stop": "stop sequences; blank ones are left out, which Converse refuses",
    "reasoning_effort": "Claude 3.7 and newer: a share of `max_tokens` to think in; gpt-oss: the same; else refused",
    "thinking": "Claude 3.7 and newer; else refused",
}

BOUNDED = {
    "model": "which pool answers",
    "stream": "whether the answer is streamed",
    "stream_options": "whether a stream tells its usage",
    "max_tokens": "how long the answer may be, within what is reserved",
    "max_completion_tokens": "likewise",
    "n": "1; else refused",
    "best_of": "1; else refused",
}

LEFT_OUT = {
    "cache_control": "of the whole request; that of a message, a part or a tool is a cache point if the model caches",
    "max_new_tokens": "never sent to any target",
    "metadata": "for who keeps answers",
    "n_cmpl": "never sent to any target",
    "n_predict": "never sent to any target",
    "prediction": "for speed",
    "prompt_cache_key": "for speed",
    "prompt_cache_options": "for speed",
    "prompt_cache_retention": "for speed",
    "safety_identifier": "for abuse reports of another service",
    "seed": "a wish that no service promises to grant",
    "service_tier": "for speed and price of another service",
    "store": "for who keeps answers",
    "user": "for abuse reports of another service",
}

REFUSED = {
    "audio": "no model here speaks",
    "frequency_penalty": "other than 0",
    "logit_bias": "other than none",
    "logprobs": "as `true`",
    "modalities": "other than text",
    "moderation": "no model here judges",
    "presence_penalty": "other than 0",
    "top_logprobs": "other than 0",
    "verbosity": "other than `medium`",
    "web_search_options": "no model here searches",
}
"""Those that callers are known to send; what stands nowhere here is refused as well."""

_ARRIVE = TRANSLATED.keys() | BOUNDED.keys() | LEFT_OUT.keys()
_NEUTRAL: Mapping[str, object] = {"modalities": ["text"], "verbosity": "medium"}


def check(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raises: Malformed, naming what would change the answer and cannot be said to Bedrock."""
    for name, value in fields.items():
        if name not in _ARRIVE and asks(name, value):
            raise Malformed(f"This model has no {name[:64]}: leave it out.", field=name[:64])


def asks(name: str, value: msgspec.Raw) -> bool:
    """Whether it asks for anything: nothing, no and none are what a request without it has."""
    try:
        said = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return bool(said) and said != _NEUTRAL.get(name)
