"""Inference profiles: the way to models that Bedrock serves from several regions only.

A system-defined profile is named by its geography and the model (`us.anthropic.claude-...`); requests through it
may run anywhere in that geography, so the target's residency rule decides which may be used.
https://docs.aws.amazon.com/bedrock/latest/userguide/cross-region-inference.html
"""

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from chalicelib.engines.bedrock.access import Access
from chalicelib.engines.bedrock.failures import Failure
from chalicelib.pool import Bedrock
from chalicelib.refusal import Malformed

KNOWN_LIMIT = 1_024  # models that a sandbox keeps in mind; callers may name any
PAGE = 1_000

# Geographies are continents and two-letter countries; no provider has so short a name. One that AWS adds later
# is recognised too, so that it cannot be used without being allowed.
_PROFILE = re.compile(r"(?P<geography>[a-z]{2}(-[a-z]+)?|apac|global)\.(?P<model>.+)")
_MODEL = re.compile(r"[A-Za-z0-9-]{1,63}\.[A-Za-z0-9.:-]{1,128}")
# What AWS itself has made is the same in every account; all else belongs to one.
_PUBLIC = re.compile(
    r"arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]+):\d*:(foundation-model|inference-profile)/(?P<id>.+)"
)


class Recollection(Protocol):
    """What was found before, by any sandbox. Only a hint: its failures are its own, and told to nobody."""

    def recall(self, place: str, model: str) -> str | None:
        """The profile through which the model was reached at that place, or None."""

    def remember(self, place: str, model: str, profile: str) -> None:
        """From now on the model is to be reached through that profile."""


def named(model_id: str, profile: str, target: Bedrock, region: str) -> tuple[str, str]:
    """The model, and the profile or "", that a caller names; a profile may stand in place of the model, as at AWS.

    An ARN may name a model that Bedrock lists, or a system-defined profile, in the region that is called.

    Raises: Malformed, also for a profile of another model or of a geography that is not allowed here.
    """
    public = _PUBLIC.fullmatch(model_id)
    if public is not None and public["region"] == region:
        model_id = public["id"]
    if not _MODEL.fullmatch(model_id):
        # Another ARN could name what belongs to others in the account.
        raise Malformed(
            "`modelId` has to be the id of a model that Bedrock lists, not an ARN; unless it is that of such a model, "
            f"or of a system-defined inference profile, in {region}.",
            field="modelId",
        )
    model_id, of_the_model = split(model_id)
    profile = profile or of_the_model
    if not profile:
        return model_id, ""
    allowed = _allowed(target, region)
    found = _PROFILE.fullmatch(profile)
    if found is None or found["model"] != model_id:
        raise Malformed(
            f"`inferenceProfile` has to be one of the model's own, such as {allowed[0]}.{model_id}.",
            field="inferenceProfile",
        )
    if found["geography"] not in allowed:
        raise Malformed(
            f"The inference profile is of the geography {found['geography']}; data may be in "
            f"{', '.join(allowed)} only.",
            field="inferenceProfile",
        )
    return model_id, profile


def split(model_id: str) -> tuple[str, str]:
    """The model, and the profile or "", that an id names which may be either's. An ARN is used as it is."""
    if model_id.startswith("arn:"):
        return model_id, model_id
    as_profile = _PROFILE.fullmatch(model_id)
    return (as_profile["model"], model_id) if as_profile else (model_id, "")


class Profiles:
    """Finds a model's profile once, and keeps it in mind. Thread-safe."""

    def __init__(self, recollection: Recollection) -> None:
        self._recollection = recollection
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], str] = {}  # "" for a model that needs none

    def known(self, place: str, model: str) -> str:
        """The profile to use, or "" where none is known of."""
        found = self._known.get((place, model))
        if found is None:
            found = self._recollection.recall(place, model) or ""
            self._keep(place, model, found)
        return found

    def learn(self, place: str, model: str, profile: str) -> None:
        """The model answered through the profile."""
        self._keep(place, model, profile)
        self._recollection.remember(place, model, profile)

    def _keep(self, place: str, model: str, profile: str) -> None:
        with self._lock:
            if len(self._known) >= KNOWN_LIMIT:
                del self._known[next(iter(self._known))]
            self._known[place, model] = profile


def place_of(target: Bedrock, region: str) -> str:
    """What a profile is found for: another account, or another residency rule, may need another."""
    return " ".join((region, ",".join(_allowed(target, region)), target.secret)).rstrip()


def profiles_of(access: Access, target: Bedrock, until_ms: int) -> Mapping[str, str]:
    """The system-defined profile of each model that has one in an allowed geography. Raises: Failure, EngineFailed."""
    allowed = _allowed(target, access.region)
    found: dict[str, str] = {}
    for profile in _listed(access, "SYSTEM_DEFINED", until_ms):
        name = _PROFILE.fullmatch(profile["inferenceProfileId"])
        if name is None or name["geography"] not in allowed:
            continue
        before = _PROFILE.fullmatch(found.get(name["model"], ""))
        if before is None or allowed.index(name["geography"]) < allowed.index(before["geography"]):
            found[name["model"]] = name[0]
    return found


def find(access: Access, target: Bedrock, model: str, until_ms: int) -> str | None:
    """The id of a system-defined profile of an allowed geography, else the ARN of an application profile, made
    if need be; None where Bedrock makes none.

    Raises: Failure, EngineFailed.
    """
    return profiles_of(access, target, until_ms).get(model) or _application(access, model, until_ms)


def _application(access: Access, model: str, until_ms: int) -> str | None:
    name = _name(model)
    source = f"arn:{access.partition()}:bedrock:{access.region}::foundation-model/{model}"
    request = {"inferenceProfileName": name, "modelSource": {"copyFrom": source}}
    try:
        return str(access.control("create_inference_profile", request, until_ms)["inferenceProfileArn"])
    except Failure as failure:
        if failure.code == "ConflictException":  # another sandbox was faster, or has forgotten it
            return next(
                (
                    str(profile["inferenceProfileArn"])
                    for profile in _listed(access, "APPLICATION", until_ms)
                    if profile["inferenceProfileName"] == name and _serves(profile, source)
                ),
                None,
            )
        if failure.status in (400, 403, 404):
            return None
        raise


def _listed(access: Access, kind: str, until_ms: int) -> Iterator[Mapping[str, Any]]:
    request: dict[str, object] = {"typeEquals": kind, "maxResults": PAGE}
    while True:
        page = access.control("list_inference_profiles", request, until_ms)
        yield from page.get("inferenceProfileSummaries", ())
        if not page.get("nextToken"):
            return
        request["nextToken"] = page["nextToken"]


def _serves(profile: Mapping[str, Any], source: str) -> bool:
    """Whether that is all it leads to: one that somebody made of a system-defined profile may leave the geography."""
    return all(each.get("modelArn") == source for each in profile["models"])


def _name(model: str) -> str:
    """Letters and digits with single marks between, 64 at most.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateInferenceProfile.html
    """
    return re.sub(r"[^0-9A-Za-z]+", "-", f"cross-partition-{model}")[:64].rstrip("-")


def _allowed(target: Bedrock, region: str) -> tuple[str, ...]:
    """The geographies in which residency lets a request run, the preferred one first."""
    if target.geographies:
        return target.geographies
    if region.startswith("us-gov-"):
        return ("us-gov",)
    beginning = region.partition("-")[0]
    return ({"ap": "apac"}.get(beginning, beginning),)
