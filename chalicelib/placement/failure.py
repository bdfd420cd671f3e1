"""Why a target failed, and how its breaker stood when it did, as its operator is told.

Nothing that targets or callers write is in it: texts of ours, and codes.
"""

import re
from typing import Literal

import msgspec

from chalicelib.pool import Target
from chalicelib.refusal import Refusal

_SYMPTOM = re.compile(r"[A-Za-z0-9 ._-]{1,80}")
_MODEL = re.compile(r"[A-Za-z0-9.:-]{1,128}")  # as Bedrock's ids are; no text that a caller may have put there


class Failure(msgspec.Struct, frozen=True):
    """When and why a target failed."""

    at_ms: int
    cause: str  # as callers may hear it
    symptom: str = ""  # what was met there: `http 404 model_not_found`, `ECONNREFUSED`, `AccessDeniedException`
    model: str = ""  # which one, where the target leaves it to callers


Whom = Literal["everybody", "one_tenant"]
"""Whose calls an open breaker holds back: one tenant's, where only its own failed."""


class BreakerState(msgspec.Struct, frozen=True):
    """A target's breaker after a call that failed there, or after the first one that was answered again."""

    at_ms: int
    retry_at_ms: int | None = None  # when an open breaker lets a call try; None: it is closed
    failure: Failure | None = None  # the last one, also of a breaker that is closed
    whom: Whom = "everybody"  # it holds back

    def phase(self, now_ms: int) -> Literal["closed", "open", "half_open"]:
        if self.retry_at_ms is None:
            return "closed"
        return "open" if now_ms < self.retry_at_ms else "half_open"


class Sighting(msgspec.Struct, frozen=True):
    """A target that failed, or is well again; `change` where its breaker changed by it, or what is wrong with it."""

    target: Target
    pool: str  # that the call was for
    state: BreakerState
    change: bool


def failure_of(refusal: Refusal, at_ms: int, model: str = "") -> Failure:
    symptom = refusal.symptom if _SYMPTOM.fullmatch(refusal.symptom) else ""
    return Failure(at_ms, refusal.text, symptom, model if _MODEL.fullmatch(model) else "")
