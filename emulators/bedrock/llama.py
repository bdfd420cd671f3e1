"""Meta's Llama, as InvokeModel takes and gives it: a prompt in its template, and a generation.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from emulators.bedrock.catalogue import Model
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Text, Turn
from emulators.bedrock.shape import Metrics, Said, Stream, ceiling, read

_HEADED = re.compile(
    r"<\|start_header_id\|>(system|user|assistant)<\|end_header_id\|>\s*(.*?)\s*(?:<\|eot_id\|>|\Z)", re.DOTALL
)
_BEGIN = "<|begin_of_text|>"

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Body(msgspec.Struct, frozen=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1)]
    max_gen_len: Annotated[int, msgspec.Meta(ge=1)] = 512
    temperature: _Share = 0.5
    top_p: _Share = 0.9


class Llama:
    """A `Shape`."""

    def read(self, body: bytes, model: Model) -> Conversation:
        asked = read(body, _Body)
        headed = _HEADED.findall(asked.prompt)
        turns = tuple(Turn(role, text) for role, text in headed if role != "system" and text)
        return Conversation(
            turns=turns or (Turn("user", asked.prompt.removeprefix(_BEGIN)),),
            system="\n".join(text for role, text in headed if role == "system"),
            max_tokens=ceiling(asked.max_gen_len, model.most_tokens),
            temperature=asked.temperature,
            top_p=asked.top_p,
        )

    def whole(self, said: Said, metrics: Metrics) -> dict[str, Any]:
        return {
            "generation": "".join(block.text for block in said.blocks if isinstance(block, Text)),
            "prompt_token_count": metrics.input_tokens,
            "generation_token_count": metrics.output_tokens,
            "stop_reason": _reason(said.ended),
        }

    def stream(self) -> Stream:
        return _Stream()


class _Stream:
    def __init__(self) -> None:
        self._input_tokens: int | None = None
        self._said = 0

    def events(self, event: Event) -> Iterable[dict[str, Any]]:
        match event:
            case Began(tokens):
                self._input_tokens = tokens
            case Text(text):
                self._said += 1
                yield self._chunk(text)

    def last(self, ended: Ended, metrics: Metrics) -> Iterable[dict[str, Any]]:
        self._said = metrics.output_tokens
        yield self._chunk("") | {"stop_reason": _reason(ended)} | metrics.invocation()

    def _chunk(self, text: str) -> dict[str, Any]:
        # The prompt is counted in the first chunk alone.
        prompt_tokens, self._input_tokens = self._input_tokens, None
        return {
            "generation": text,
            "prompt_token_count": prompt_tokens,
            "generation_token_count": self._said,
            "stop_reason": None,
        }


def _reason(ended: Ended) -> str:
    return "length" if ended.reason == "max_tokens" else "stop"
