"""Which models a target's Bedrock has, as its caller may use them."""

import threading
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from chalicelib.clock import Clock
from chalicelib.dialects import failures
from chalicelib.engines.bedrock.access import Access
from chalicelib.engines.bedrock.failures import Failure
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.engines.bedrock.profiles import profiles_of
from chalicelib.pool import Bedrock
from chalicelib.refusal import EngineFailed

MAX_AGE_MS = 300_000
LISTING_MS = 10_000  # what asking may take


class Reaching(Protocol):
    """What leads to a target's Bedrock."""

    def access(self, target: Bedrock) -> Access:
        """The way there."""


class _Held(msgspec.Struct, frozen=True):
    """What came of asking. `failure`: why there are no models, or ""; only those who waited for it hear it."""

    models: tuple[FoundationModel, ...]
    failure: str
    until_ms: int


class Catalogue:
    """Every target's models, asked for at most each MAX_AGE_MS. Thread-safe."""

    def __init__(self, bedrock: Reaching, clock: Clock) -> None:
        """`clock`: monotonic."""
        self._bedrock = bedrock
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: dict[tuple[object, ...], threading.Lock] = {}
        self._held: dict[tuple[object, ...], _Held] = {}

    def models(self, target: Bedrock) -> tuple[FoundationModel, ...]:
        """By id. Raises EngineFailed."""
        place = (target.region, target.secret, target.geographies)
        held, now_ms = self._held.get(place), self._clock()
        if held is None or now_ms >= held.until_ms:
            with self._lock:
                asking = self._asking.setdefault(place, threading.Lock())
            with asking:
                answered = self._held.get(place)
                if answered is held or answered is None:  # else it came while we waited, and ours would be the same
                    answered = self._held[place] = self._asked(target)
            held = answered
        if held.failure:
            raise EngineFailed(held.failure)
        return held.models

    def _asked(self, target: Bedrock) -> _Held:
        try:
            models = self._listed(target, self._clock() + LISTING_MS)
        except EngineFailed as failed:
            return _Held((), failed.text, self._clock())
        return _Held(models, "", self._clock() + MAX_AGE_MS)

    def _listed(self, target: Bedrock, until_ms: int) -> tuple[FoundationModel, ...]:
        access = self._bedrock.access(target)
        try:
            listed = access.control("list_foundation_models", {}, until_ms)["modelSummaries"]
            profiles = profiles_of(access, target, until_ms)
        except Failure as failure:
            raise EngineFailed(failures.FAILED) from failure
        found = {summary["modelId"]: _model(summary, profiles) for summary in listed}
        return tuple(found[model_id] for model_id in sorted(found))


def _model(summary: Mapping[str, Any], profiles: Mapping[str, str]) -> FoundationModel:
    model_id = summary["modelId"]
    return FoundationModel(
        model_id=model_id,
        name=summary.get("modelName", model_id),
        provider=summary.get("providerName", ""),
        input_modalities=tuple(summary.get("inputModalities", ())),
        output_modalities=tuple(summary.get("outputModalities", ())),
        streams=bool(summary.get("responseStreamingSupported")),
        needs_profile="ON_DEMAND" not in summary.get("inferenceTypesSupported", ()),
        inference_profile=profiles.get(model_id),
    )
