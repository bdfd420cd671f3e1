"""What Bedrock's families of models have besides what Converse has for them all. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

import re
from functools import lru_cache
from typing import Any, Literal

import msgspec

from chalicelib.refusal import Malformed

LEAST_THOUGHT_TOKENS = 1_024
"""https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html"""

Place = Literal["system", "messages", "tools"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """`thinks`: by a budget of tokens; adaptively, by an effort; by an effort that goes along as it is; or never."""

    top_k: tuple[str, ...] = ()  # where the model's own members hold it
    thinks: Literal["budget", "adaptive", "effort", ""] = ""
    one_call: bool = False  # it can be told to call one tool at a time
    cached: frozenset[Place] = frozenset()  # where it takes cache points
    cached_long: bool = False  # for an hour, too
    efforts: bool = False  # it takes `output_config.effort`, and thinking that is adaptive


_EVERYWHERE: frozenset[Place] = frozenset(("system", "messages", "tools"))
_EARLY = Family(top_k=("top_k",), one_call=True)
_THINKING = Family(top_k=("top_k",), one_call=True, thinks="budget", cached=_EVERYWHERE)

_FAMILIES = {
    r"anthropic\.claude-3-5-haiku": msgspec.structs.replace(_EARLY, cached=_EVERYWHERE),
    r"anthropic\.claude-(v\d|instant|3-(opus|sonnet|haiku|5))": _EARLY,
    r"anthropic\.claude-[a-z]+-4-5\b": msgspec.structs.replace(_THINKING, cached_long=True),
    r"anthropic\.claude-[a-z]+-4-6\b": msgspec.structs.replace(_THINKING, cached_long=True, efforts=True),
    r"anthropic\.claude-(3-7|[a-z]+-4-(\d{8}|1\b))": _THINKING,
    r"anthropic\.": msgspec.structs.replace(_THINKING, thinks="adaptive", cached_long=True, efforts=True),
    r"amazon\.nova-(micro|lite|pro|premier)": Family(
        top_k=("inferenceConfig", "topK"), cached=frozenset(("system", "messages"))
    ),
    r"openai\.": Family(thinks="effort"),
}
"""By what a model's id holds; the first that fits."""

_SHARES = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 90, "max": 90}
"""How much of an answer may be thought, in percent."""

_EFFORTS = {"minimal": "low", "xhigh": "high", "max": "high"}
"""What no model here has, as what all of them have."""


@lru_cache(maxsize=64)
def family_of(model: str) -> Family:
    return next((family for held, family in _FAMILIES.items() if re.search(held, model)), Family())


def thinking(family: Family, effort: str, ceiling_tokens: int) -> dict[str, Any]:
    """The model's own members that let it think so hard. Raises: Malformed, where it cannot."""
    if effort == "none":
        return {}
    if effort not in _SHARES:
        raise Malformed(f"reasoning_effort is one of none, {', '.join(_SHARES)}.", field="reasoning_effort")
    if family.thinks == "budget":
        if ceiling_tokens <= LEAST_THOUGHT_TOKENS:
            raise Malformed(
                f"reasoning_effort: to think takes this model {LEAST_THOUGHT_TOKENS:,} tokens at least, and its answer "
                f"may have {ceiling_tokens:,} in all. Ask for more max_tokens, or leave reasoning_effort out.",
                field="reasoning_effort",
            )
        budget = max(LEAST_THOUGHT_TOKENS, ceiling_tokens * _SHARES[effort] // 100)
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if family.thinks == "adaptive":
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": _EFFORTS.get(effort, effort)}}
    if family.thinks == "effort":
        return {"reasoning_effort": _EFFORTS.get(effort, effort)}
    raise Malformed("This model has no reasoning_effort: leave it out.", field="reasoning_effort")
