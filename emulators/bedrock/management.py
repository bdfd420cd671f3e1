"""The control plane, as far as it is needed to invoke models: foundation models and inference profiles."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from emulators.bedrock.catalogue import MODELS, Model, Profile, copied, find_model, find_profile, system_profiles
from emulators.bedrock.control import Control
from emulators.bedrock.exchange import Request, Whole, parameters
from emulators.bedrock.refusal import BedrockError, invalid

MOST_RESULTS = 1_000

_NUMBER = re.compile("[0-9]{1,9}")


class _Source(msgspec.Struct, frozen=True, rename="camel"):
    copy_from: str


class _Create(msgspec.Struct, frozen=True, rename="camel"):
    inference_profile_name: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-zA-Z][ _-]?)+$", max_length=64)]
    model_source: _Source
    description: str = ""
    client_request_token: str = ""


class Management:
    """Its operations raise Refused."""

    def __init__(self, control: Control, account: str, clock: Callable[[], int], new_id: Callable[[], UUID]) -> None:
        self._control = control
        self._account = account
        self._clock = clock
        self._new_id = new_id

    def list_models(self, request: Request) -> Whole:
        found = [_summary(model, request.region) for model in MODELS.values()]
        provider = request.query.get("byProvider", "").lower()
        wanted = {
            "outputModalities": request.query.get("byOutputModality"),
            "inferenceTypesSupported": request.query.get("byInferenceType"),
            "customizationsSupported": request.query.get("byCustomizationType"),
        }
        return Whole(
            {
                "modelSummaries": [
                    each
                    for each in found
                    if provider in ("", each["providerName"].lower())
                    and all(value is None or value in each[name] for name, value in wanted.items())
                ]
            }
        )

    def get_model(self, request: Request) -> Whole:
        return Whole({"modelDetails": _summary(find_model(request.parameters[0], request.region), request.region)})

    def list_profiles(self, request: Request) -> Whole:
        kind = request.query.get("type")
        known = [*system_profiles(request.region, self._account), *self._applications(request.region)]
        found = [each for each in known if kind in (None, each.kind)]
        first = _number(request.query, "nextToken", 0)
        after = first + (_number(request.query, "maxResults", MOST_RESULTS) or MOST_RESULTS)
        answer: dict[str, Any] = {"inferenceProfileSummaries": [_profile(each) for each in found[first:after]]}
        return Whole(answer | ({"nextToken": str(after)} if after < len(found) else {}))

    def get_profile(self, request: Request) -> Whole:
        return Whole(_profile(self._profile(request)))

    def create_profile(self, request: Request) -> Whole:
        wanted = parameters(request.body, _Create)
        if any(each.name == wanted.inference_profile_name for each in self._applications(request.region)):
            raise BedrockError("ConflictException", "An inference profile with the same name already exists.")
        source = copied(wanted.model_source.copy_from, request.region, self._account, self._control.profiles)
        made = Profile(
            id=self._new_id().hex[:12],
            name=wanted.inference_profile_name,
            description=wanted.description,
            kind="APPLICATION",
            region=request.region,
            account=self._account,
            model=source.model,
            model_arns=source.profile.model_arns if source.profile else (source.model.arn(request.region),),
            created_ms=self._clock(),
        )
        self._control.profiles[made.arn] = made
        return Whole({"inferenceProfileArn": made.arn, "status": "ACTIVE"}, status=201)

    def delete_profile(self, request: Request) -> Whole:
        found = self._profile(request)
        if found.kind == "SYSTEM_DEFINED":
            raise invalid("A system-defined inference profile cannot be deleted.")
        del self._control.profiles[found.arn]
        return Whole({})

    def _profile(self, request: Request) -> Profile:
        found = find_profile(request.parameters[0], request.region, self._account, self._control.profiles)
        if found is None:
            raise BedrockError("ResourceNotFoundException", "The requested inference profile was not found.")
        return found

    def _applications(self, region: str) -> Iterable[Profile]:
        return [each for each in self._control.profiles.values() if each.region == region]


def _summary(model: Model, region: str) -> dict[str, Any]:
    return {
        "modelArn": model.arn(region),
        "modelId": model.id,
        "modelName": model.name,
        "providerName": model.provider,
        "inputModalities": ["TEXT", "IMAGE"] if model.images else ["TEXT"],
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND"] if model.on_demand else ["INFERENCE_PROFILE"],
        "modelLifecycle": {"status": "ACTIVE"},
    }


def _profile(profile: Profile) -> dict[str, Any]:
    made = datetime.fromtimestamp(profile.created_ms / 1000, UTC).isoformat()
    described = {"description": profile.description} if profile.description else {}
    return {
        "inferenceProfileName": profile.name,
        "createdAt": made,
        "updatedAt": made,
        "inferenceProfileArn": profile.arn,
        "models": [{"modelArn": arn} for arn in profile.model_arns],
        "inferenceProfileId": profile.id,
        "status": "ACTIVE",
        "type": profile.kind,
    } | described


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not _NUMBER.fullmatch(text):
        raise invalid(f"1 validation error detected: Value at '{name}' failed to satisfy constraint: Expected a number")
    return int(text)
