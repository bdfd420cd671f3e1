"""A pool is a named model offering; a target is one place that can run it. A leaf: every room may import it.

    Target = SageMaker | OpenAICompatible | Bedrock | Scripted

What a kind of target needs, what counts as one place of it, and whether its calls cross into another partition, is said
here and nowhere else.
"""

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from chalicelib.call import Operation

Natural = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10**9)]

SecretId = Annotated[str, msgspec.Meta(max_length=2_048)]  # a name or an ARN
MOST_NAME_PARTS = 8
# As models are called elsewhere, too: `meta-llama/Llama-3.1-8B`, `claude-sonnet-4:latest`. Between slashes stand parts.
_PART = r"[A-Za-z0-9]([A-Za-z0-9._:@-]*[A-Za-z0-9])?"
# Python's `$` also matches before a last newline, JSON Schema's does not: `(?!\n)` makes them the same. The description
# is what is said of the pattern to whoever has sent something else.
PoolName = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^{_PART}(/{_PART}){{0,{MOST_NAME_PARTS - 1}}}$(?!\n)",
        max_length=128,
        description="1 to 128 letters, digits or any of . _ : @ - in up to 8 parts with slashes between, each of which "
        "begins and ends with a letter or a digit",
    ),
]


GuardrailName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", max_length=64, description="1 to 64 letters, digits, `_` or `-`"
    ),
]
GuardrailArn = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^arn:aws[a-z-]*:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]{1,64}$(?!\n)",
        max_length=200,
        description="the full ARN of a guardrail of Bedrock, ending in :guardrail/ and its id",
    ),
]
GuardrailVersion = Annotated[
    str, msgspec.Meta(pattern=r"^([1-9][0-9]{0,7}|DRAFT)$(?!\n)", description="the number of a version, or DRAFT")
]


class _Target(msgspec.Struct, frozen=True, tag_field="engine"):
    """What every kind has."""

    name: str
    model: str = ""  # what the target calls the model; the pool's name where empty
    weight: Natural = 1  # share of first choices; 0 means only as a fall-back
    capacity: Positive = 1  # requests it runs side by side

    @property
    def engine(self) -> str:
        """The kind of target, as stored pools and `ENGINES` name it."""
        return str(self.__struct_config__.tag)

    def place(self, model_id: str = "") -> str:  # noqa: ARG002
        """What makes two targets the same place, so that pools that share one share its fate.

        `model_id` is the model that a call names, where the target leaves it open.
        """
        return f"{self.engine} {self.name}"

    @property
    def probe_place(self) -> str:
        """Likewise for questions of how it is."""
        return self.place()

    @property
    def may_sleep(self) -> bool:
        """Whether a question of how it is could start it, which nobody but a caller shall pay for."""
        return False

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is nobody's business but the operator's."""
        return ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is nobody's at all, and no word: wherever it stands, it is not shown."""
        return ()

    @property
    def crosses_partition(self) -> bool:
        """Whether calls leave for another account or partition, and are audited."""
        return False

    def destination(self, region: str) -> str:
        """The region where a call is run, as far as that is known before: of a gateway in `region`."""
        return region


class SageMaker(_Target, frozen=True, kw_only=True, tag="sagemaker"):
    """An endpoint: of inference components (`component`), of several models (`target_model`), or of one model."""

    endpoint: str = ""
    component: str = ""
    target_model: str = ""

    def __post_init__(self) -> None:
        if not self.endpoint:
            raise ValueError(f"The target {self.name!r} needs `endpoint`, a SageMaker endpoint's name.")

    def place(self, model_id: str = "") -> str:  # noqa: ARG002
        return f"sagemaker {self.endpoint} {self.component or self.target_model}"

    @property
    def probe_place(self) -> str:
        # The models of a multi-model endpoint share its instances, and to probe one is to load it: one for all.
        return f"sagemaker {self.endpoint} {self.component}"

    @property
    def may_sleep(self) -> bool:
        # A component may be at zero, and scales from there by the very calls that fail; a model may not be loaded.
        return bool(self.component or self.target_model)

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.endpoint, self.component, self.target_model)


class OpenAICompatible(_Target, frozen=True, kw_only=True, tag="openai_compatible"):
    """A server at `url`, up to and including the version (`http://10.0.0.7:8000/v1`)."""

    url: str = ""
    secret: SecretId = ""  # of Secrets Manager, with the key that the server wants; empty: it wants none

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"The target {self.name!r} needs `url`, as http://10.0.0.7:8000/v1.")

    def place(self, model_id: str = "") -> str:  # noqa: ARG002
        # Who is refused for one key may be let in for another.
        return f"openai_compatible {self.url} {self.secret}" if self.secret else f"openai_compatible {self.url}"

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.url,)

    @property
    def private(self) -> bool:
        """Whether a key may be sent there: under TLS, or to a machine of a private network."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return True
        from ipaddress import ip_address  # not at the top: few targets have a key

        try:
            return ip_address(host).is_private
        except ValueError:
            # Resolvers take `134744072` and `0x8080808` for addresses; a backslash ends a host for some, for some not.
            named = re.fullmatch(r"(?!0x)[a-z0-9._-]*[a-z][a-z0-9._-]*", host) is not None
            return named and ("." not in host or host.endswith((".internal", ".local")))


class Bedrock(_Target, frozen=True, kw_only=True, tag="bedrock"):
    """Bedrock in a region, which `secret` may name instead. Without a `model`, each call names its own."""

    region: str = ""
    secret: str = ""  # of Secrets Manager, with credentials; empty: the gateway's own role
    profile: str = ""  # an inference profile to use always
    geographies: tuple[str, ...] = ()  # of inference profiles that residency allows ("us", "eu"); empty: the region's

    def __post_init__(self) -> None:
        if not (self.region or self.secret):
            raise ValueError(f"The target {self.name!r} needs `region`, as us-east-1, or a `secret` that says it.")

    def place(self, model_id: str = "") -> str:
        # Models of one region fail apart from each other.
        return f"bedrock {self.region} {self.secret} {self.profile or self.model or model_id}"

    @property
    def crosses_partition(self) -> bool:
        return True

    def destination(self, region: str) -> str:
        # Where only a secret says the region, nobody knows it of a call that failed.
        return self.region or ("" if self.secret else region)


class BedrockGuardrail(msgspec.Struct, frozen=True):
    """A guardrail of Bedrock's, as the operator offers it to a tenant under a name."""

    name: GuardrailName
    arn: GuardrailArn
    version: GuardrailVersion
    secret: SecretId = ""  # of Secrets Manager, with credentials; empty: the gateway's own role

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]


class Scripted(_Target, frozen=True, kw_only=True, tag="scripted"):
    """What answers from a script: for tests, demonstrations and load without a model."""

    url: str = ""  # what makes it a place of its own; its name where empty

    def place(self, model_id: str = "") -> str:  # noqa: ARG002
        return f"scripted {self.url or self.name}"


Target = SageMaker | OpenAICompatible | Bedrock | Scripted


class Capacity(msgspec.Struct, frozen=True):
    """What a target says of itself."""

    total: int  # requests it can run side by side
    in_flight: int
    queue_depth: int  # requests waiting for a place
    instance: str = ""  # who said so, where it says; two targets may be one instance


class Pool(msgspec.Struct, frozen=True):
    """A named model offering with its ordered targets, prices and reservation rule."""

    name: str
    targets: tuple[Target, ...]
    operations: tuple[Operation, ...] = ("chat.completions", "completions")
    default_max_tokens: Positive = 512  # reserved and imposed when the caller names none
    max_tokens: Positive = 4_096  # the most one answer may generate
    bytes_per_token: Positive = 3  # 1 is a true upper bound for byte-level tokenizers
    image_tokens: Positive = 1_600  # the most that one image of a prompt is; reserved where its size is not known
    file_tokens: Positive = 32_000  # likewise one recording or document
    input_micro_usd_per_mtok: Natural = 0  # micro-dollars for a million tokens
    output_micro_usd_per_mtok: Natural = 0
    cached_micro_usd_per_mtok: Natural | None = None  # of a prompt's that were cached; None: as the rest
    gpu_ms_ceiling: Natural = 0  # GPU time reserved for an answer, and the most one is charged
    sealed: bool = False  # every target has an enclave behind it, and takes sealed calls
    aliases: Annotated[tuple[PoolName, ...], msgspec.Meta(max_length=32)] = ()  # other names, which are as good
    created_s: int = 0  # seconds since the epoch, as OpenAI's model object has it
