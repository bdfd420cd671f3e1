"""The models and inference profiles that there are, as data: what each region offers, and what an identifier names."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from emulators.bedrock.refusal import invalid, needs_profile, unknown_model

Family = Literal["anthropic", "nova", "llama"]

GEOGRAPHIES = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
}
"""To which regions a profile of a geography may send a request; one of `global` may send it anywhere."""

_PREFIXES = {"us-gov-": "us-gov", "us-": "us", "eu-": "eu", "ap-": "apac"}
_NAMES = {"us": "US", "eu": "EU", "apac": "APAC", "us-gov": "US-GOV", "global": "GLOBAL"}
_ARN = re.compile(
    r"arn:[a-z-]+:bedrock:(?P<region>[a-z0-9-]*):\d*:"
    r"(?P<kind>foundation-model|inference-profile|application-inference-profile)/(?P<id>[a-zA-Z0-9.:-]+)"
)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """`geographies` are those that have a profile of it; without `on_demand` it must be called by one.

    `tools`: it may be offered some. `thinks`: it takes a budget for thinking. `caches`: a prompt may have cache points.
    """

    id: str
    name: str
    provider: str
    family: Family
    images: bool
    tools: bool = True
    thinks: bool = False
    caches: bool = False
    on_demand: bool
    geographies: tuple[str, ...]
    context_tokens: int  # the most that a prompt may be
    most_tokens: int  # of one answer

    def arn(self, region: str) -> str:
        return f"arn:{partition(region)}:bedrock:{region}::foundation-model/{self.id}"

    def check_length(self, prompt_tokens: int) -> None:
        """Raises Refused, in the family's words, where a prompt is over the context."""
        if prompt_tokens <= self.context_tokens:
            return
        if self.family == "anthropic":
            raise invalid(f"prompt is too long: {prompt_tokens} tokens > {self.context_tokens} maximum")
        if self.family == "nova":
            raise invalid(
                "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try "
                "again."
            )
        raise invalid("Input is too long for requested model.")


MODELS = {
    model.id: model
    for model in (
        Model(
            id="anthropic.claude-3-haiku-20240307-v1:0",
            name="Claude 3 Haiku",
            provider="Anthropic",
            family="anthropic",
            images=True,
            on_demand=True,
            geographies=("us", "eu", "apac", "us-gov"),
            context_tokens=200_000,
            most_tokens=4_096,
        ),
        Model(
            id="anthropic.claude-3-5-sonnet-20241022-v2:0",
            name="Claude 3.5 Sonnet v2",
            provider="Anthropic",
            family="anthropic",
            images=True,
            on_demand=True,
            geographies=("us", "apac"),
            context_tokens=200_000,
            most_tokens=8_192,
        ),
        Model(
            id="anthropic.claude-sonnet-4-20250514-v1:0",
            name="Claude Sonnet 4",
            provider="Anthropic",
            family="anthropic",
            images=True,
            thinks=True,
            caches=True,
            on_demand=False,
            geographies=("us", "eu", "apac", "global"),
            context_tokens=200_000,
            most_tokens=65_536,
        ),
        Model(
            id="anthropic.claude-opus-4-20250514-v1:0",
            name="Claude Opus 4",
            provider="Anthropic",
            family="anthropic",
            images=True,
            thinks=True,
            caches=True,
            on_demand=False,
            geographies=("us",),
            context_tokens=200_000,
            most_tokens=32_768,
        ),
        Model(
            id="anthropic.claude-opus-4-1-20250805-v1:0",
            name="Claude Opus 4.1",
            provider="Anthropic",
            family="anthropic",
            images=True,
            thinks=True,
            caches=True,
            on_demand=False,
            geographies=("us",),
            context_tokens=200_000,
            most_tokens=32_000,
        ),
        Model(
            id="amazon.nova-lite-v1:0",
            name="Nova Lite",
            provider="Amazon",
            family="nova",
            images=True,
            caches=True,
            on_demand=True,
            geographies=("us", "eu", "apac", "us-gov"),
            context_tokens=300_000,
            most_tokens=10_000,
        ),
        Model(
            id="amazon.nova-premier-v1:0",
            name="Nova Premier",
            provider="Amazon",
            family="nova",
            images=True,
            caches=True,
            on_demand=False,
            geographies=("us",),
            context_tokens=1_000_000,
            most_tokens=32_000,
        ),
        Model(
            id="meta.llama3-8b-instruct-v1:0",
            name="Llama 3 8B Instruct",
            provider="Meta",
            family="llama",
            images=False,
            tools=False,
            on_demand=True,
            geographies=(),
            context_tokens=8_192,
            most_tokens=2_048,
        ),
        Model(
            id="meta.llama3-3-70b-instruct-v1:0",
            name="Llama 3.3 70B Instruct",
            provider="Meta",
            family="llama",
            images=False,
            on_demand=False,
            geographies=("us",),
            context_tokens=128_000,
            most_tokens=8_192,
        ),
        Model(
            id="meta.llama4-scout-17b-instruct-v1:0",
            name="Llama 4 Scout 17B Instruct",
            provider="Meta",
            family="llama",
            images=True,
            on_demand=False,
            geographies=("us",),
            context_tokens=3_500_000,
            most_tokens=8_192,
        ),
    )
}
"""Every region has them all, which is simpler than the truth."""


class Profile(msgspec.Struct, frozen=True):
    """An inference profile as its region knows it. Times are milliseconds since 1970."""

    id: str
    name: str
    description: str
    kind: Literal["SYSTEM_DEFINED", "APPLICATION"]
    region: str
    account: str
    model: Model
    model_arns: tuple[str, ...]
    created_ms: int

    @property
    def arn(self) -> str:
        resource = "inference-profile" if self.kind == "SYSTEM_DEFINED" else "application-inference-profile"
        return f"arn:{partition(self.region)}:bedrock:{self.region}:{self.account}:{resource}/{self.id}"


class Called(msgspec.Struct, frozen=True):
    """Which model a request is for, and the profile that it was called by."""

    model: Model
    profile: Profile | None = None


Applications = Mapping[str, Profile]
"""Application profiles by ARN."""


def partition(region: str) -> str:
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws-cn" if region.startswith("cn-") else "aws"


def geography(region: str) -> str:
    """Whose profiles this region has besides the global ones; empty: none."""
    return next((name for prefix, name in _PREFIXES.items() if region.startswith(prefix)), "")


def system_profiles(region: str, account: str) -> Iterator[Profile]:
    """The profiles that Bedrock itself defines for this region."""
    # The global ones are of the commercial partition alone.
    here = (geography(region), "global") if partition(region) == "aws" else (geography(region),)
    for model in MODELS.values():
        for place in here:
            if place in model.geographies:
                yield _system_profile(model, place, region, account)


def called(identifier: str, region: str, account: str, applications: Applications) -> Called:
    """What the identifier of an invocation names in this region: a model, a profile, or the ARN of either.

    Raises Refused: there is no such thing here, or the model must be called by a profile.
    """
    profile = find_profile(identifier, region, account, applications)
    if profile is not None:
        return Called(profile.model, profile)
    model = find_model(identifier, region)
    if not model.on_demand:
        raise needs_profile(identifier)
    return Called(model)


def find_model(identifier: str, region: str) -> Model:
    """The foundation model of this ID or ARN. Raises Refused."""
    found = _ARN.fullmatch(identifier)
    if found and (found["kind"] != "foundation-model" or found["region"] != region):
        raise unknown_model()
    model = MODELS.get(found["id"] if found else identifier)
    if model is None:
        raise unknown_model()
    return model


def find_profile(identifier: str, region: str, account: str, applications: Applications) -> Profile | None:
    """The profile of this region that has this ID or ARN."""
    known = [*system_profiles(region, account), *(each for each in applications.values() if each.region == region)]
    return next((each for each in known if identifier in (each.id, each.arn)), None)


def copied(source: str, region: str, account: str, applications: Applications) -> Called:
    """What an application profile is made of. Raises Refused."""
    if not _ARN.fullmatch(source):
        raise invalid("The provided model source ARN is invalid.")
    profile = find_profile(source, region, account, applications)
    if profile is None:
        return Called(find_model(source, region))
    if profile.kind == "APPLICATION":
        raise invalid("An application inference profile cannot be copied from another application inference profile.")
    return Called(profile.model, profile)


def _system_profile(model: Model, place: str, region: str, account: str) -> Profile:
    regions = GEOGRAPHIES[geography(region)] if place == "global" else GEOGRAPHIES[place]
    return Profile(
        id=f"{place}.{model.id}",
        name=f"{_NAMES[place]} {model.name}",
        description=f"Routes requests to {model.name} in {', '.join(regions)}.",
        kind="SYSTEM_DEFINED",
        region=region,
        account=account,
        model=model,
        model_arns=tuple(model.arn(each) for each in regions),
        created_ms=1_735_689_600_000,
    )
