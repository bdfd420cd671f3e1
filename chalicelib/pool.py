"""A pool is a named model offering; a target is one place that can run it."""

from typing import Annotated, Literal

import msgspec

from chalicelib.call import Operation

Natural = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
EngineKind = Literal["sagemaker", "openai_compatible", "bedrock", "scripted"]


class Target(msgspec.Struct, frozen=True):
    """One place that can run a pool.

    `engine` decides which of the address fields count:
    - `sagemaker`: `endpoint`, and one of `component` (inference component) or `target_model`
      (multi-model endpoint), or neither for a single-model endpoint;
    - `openai_compatible`: `url` up to and including the version (`http://10.0.0.7:8000/v1`);
    - `bedrock`: `region`, `model` (empty: each call names its own), and how to get there: `secret`, `profile`,
      `geographies`.
    """

    name: str
    engine: EngineKind
    model: str = ""  # what the target calls the model; the pool's name where empty
    weight: Natural = 1  # share of first choices; 0 means only as a fall-back
    capacity: Positive = 1  # requests it runs side by side
    url: str = ""
    endpoint: str = ""
    component: str = ""
    target_model: str = ""  # of a Bedrock target without a model: the one that a call names
    region: str = ""
    secret: str = ""  # of Secrets Manager, with credentials for Bedrock; empty: the gateway's own role
    profile: str = ""  # an inference profile to use always
    geographies: tuple[str, ...] = ()  # of inference profiles that residency allows ("us", "eu"); empty: the region's


class Pool(msgspec.Struct, frozen=True):
    """A named model offering with its ordered targets, prices and reservation rule."""

    name: str
    targets: tuple[Target, ...]
    operations: tuple[Operation, ...] = ("chat.completions", "completions")
    default_max_tokens: Positive = 512  # reserved and imposed when the caller names none
    max_tokens: Positive = 4_096  # the most one answer may generate
    bytes_per_token: Positive = 3  # 1 is a true upper bound for byte-level tokenizers
    input_micro_usd_per_mtok: Natural = 0  # micro-dollars for a million tokens
    output_micro_usd_per_mtok: Natural = 0
    gpu_ms_ceiling: Natural = 0  # GPU time reserved for an answer, and the most one is charged
    sealed: bool = False  # every target has an enclave behind it, and takes sealed calls
    created_s: int = 0  # seconds since the epoch, as OpenAI's model object has it
