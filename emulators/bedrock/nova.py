"""Amazon's Nova, as InvokeModel takes and gives it: Converse's turns, in a body of its own.

https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from emulators.bedrock import blocks, converse, rules
from emulators.bedrock.catalogue import Model
from emulators.bedrock.conversation import Conversation, Ended, Event
from emulators.bedrock.shape import Metrics, Said, Stream, ceiling, read

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class _InferenceConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    max_tokens: _AtLeastOne | None = None
    max_new_tokens: _AtLeastOne | None = msgspec.field(default=None, name="max_new_tokens")
    temperature: _Share | None = None
    top_p: _Share | None = None
    top_k: int | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] = []


class _Body(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    messages: Annotated[list[blocks.Message], msgspec.Meta(min_length=1)]
    schema_version: Literal["messages-v1"] = "messages-v1"
    system: list[blocks.Block] = []
    inference_config: _InferenceConfig = _InferenceConfig()
    tool_config: blocks.ToolConfig | None = None


class Nova:
    """A `Shape`."""

    def read(self, body: bytes, model: Model) -> Conversation:
        asked = read(body, _Body)
        config = asked.inference_config
        offered = converse.tools(asked.tool_config)
        return Conversation(
            turns=converse.turns(asked.messages, has_tools=asked.tool_config is not None),
            system="\n".join(block.text for block in asked.system if block.text),
            max_tokens=ceiling(config.max_tokens or config.max_new_tokens or model.most_tokens, model.most_tokens),
            temperature=config.temperature,
            top_p=config.top_p,
            stop=tuple(config.stop_sequences),
            tools=offered,
            forced=rules.forced(asked.tool_config, offered),
        )

    def whole(self, said: Said, metrics: Metrics) -> dict[str, Any]:
        answer = converse.whole(said, metrics)
        return {"output": answer["output"], "stopReason": answer["stopReason"], "usage": _usage(metrics)}

    def stream(self) -> Stream:
        return _Stream()


class _Stream:
    def __init__(self) -> None:
        self._converse = converse.Stream()

    def events(self, event: Event) -> Iterable[dict[str, Any]]:
        return self._converse.events(event)

    def last(self, ended: Ended, metrics: Metrics) -> Iterable[dict[str, Any]]:
        *before, _ = self._converse.last(ended, metrics)
        yield from before
        yield {"metadata": {"usage": _usage(metrics), "metrics": {}, "trace": {}}} | metrics.invocation()


def _usage(metrics: Metrics) -> dict[str, int]:
    return converse.usage(metrics) | {"cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0}
