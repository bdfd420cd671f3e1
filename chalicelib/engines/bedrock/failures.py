"""What went wrong at Bedrock, and what it means for the caller.

https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
"""

import re

import msgspec

from chalicelib.dialects import failures
from chalicelib.http1.failure import Failed, NotHttp, Silent, Unreachable
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal

_BUSY = {
    "ThrottlingException",
    "TooManyRequestsException",
    "ServiceUnavailableException",
    "ModelNotReadyException",
    "ServiceQuotaExceededException",
}
_STALE = {"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidSignatureException"}

SILENT, UNREACHABLE, CUT, GARBLED = "silent", "unreachable", "cut", "garbled"
_OURS = (SILENT, UNREACHABLE, CUT, GARBLED)
"""Codes of our own, for what was no answer of Bedrock's."""

# What only the operator can mend. That it is so helps callers, and the ledger tells the operator what it is.
NO_CREDENTIALS, REFUSED = failures.NO_CREDENTIALS, failures.REFUSED
NOT_THERE = "The model is not where the gateway looks for it. Tell its operator."

_TEXTS = {UNREACHABLE: failures.UNREACHABLE, CUT: failures.BROKE_OFF, GARBLED: failures.NOT_UNDERSTOOD}

_ARN = re.compile(r"\barn:[\w-]*:[^\s,;'\"]+")


class Failure(Exception):
    """An answer of Bedrock that is not the model's. Its text stays within: only `refusal()` decides what is shown."""

    def __init__(self, code: str, status: int = 0, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.message = message

    @property
    def refused(self) -> bool:
        """It is about the credential, or may be."""
        return self.status in (401, 403) or self.stale

    @property
    def stale(self) -> bool:
        """It is about the credential, and says so."""
        return self.code in _STALE

    @property
    def busy(self) -> bool:
        return self.status in (429, 503) or self.code in _BUSY

    @property
    def passing(self) -> bool:
        """The same call may well succeed in a moment.

        Also one on a connection that was closed: a sandbox that was frozen finds them so when it thaws.
        """
        return self.busy or self.status >= 500 or self.code == CUT

    @property
    def wants_profile(self) -> bool:
        """The model is served through inference profiles only."""
        # "Invocation of model ID ... with on-demand throughput isn't supported. Retry your request with the ID or
        # ARN of an inference profile that contains this model."
        return self.status == 400 and "on-demand throughput" in self.message and "inference profile" in self.message

    @property
    def unknown_model(self) -> bool:
        """There is no such model or inference profile in the region."""
        return self.status == 404 or (self.status == 400 and "model identifier is invalid" in self.message)


def failure_of(failure: Failed) -> Failure:
    """What went wrong on the way to Bedrock or back."""
    if isinstance(failure, Unreachable):
        return Failure(UNREACHABLE)
    if isinstance(failure, Silent):
        return Failure(SILENT)
    return Failure(GARBLED if isinstance(failure, NotHttp) else CUT)


def refusal(failure: Failure, target: Target, named: str = "") -> Refusal:
    """`named`: the model or the profile that the caller named, if it was the caller who did."""
    symptom = failure.code if failure.code in _OURS else failures.service_code(failure.code)
    if failure.busy:
        return NoCapacity(failures.FULL, symptom=symptom)
    if failure.unknown_model or failure.wants_profile:
        if not named:
            return EngineFailed(NOT_THERE, symptom=symptom)
        if failure.unknown_model:
            return Malformed(f"Bedrock knows no model {named!r} here. Name one that it lists.", field="modelId")
        return Malformed(
            f"The model {named!r} is served through inference profiles, and none is in a geography that is allowed "
            "here. Name another model.",
            field="modelId",
        )
    if failure.code == SILENT or failure.status == 408:
        return EngineTimedOut(failures.SILENT, symptom=symptom)
    if failure.refused:
        return EngineFailed(REFUSED, symptom=symptom)
    if failure.status in (400, 413):
        complaint = _ARN.sub("the model", failure.message)
        return failures.of_status(failure.status, msgspec.json.encode({"error": {"message": complaint}}), target)
    text = _TEXTS.get(failure.code, failures.FAILED)
    return EngineFailed(text, symptom=symptom, unsent=failure.code == UNREACHABLE)


def in_stream(kind: str, message: str, target: Target) -> Refusal:
    """What an exception frame of a stream means; `kind` is its `:exception-type`, such as `throttlingException`."""
    code = kind[:1].upper() + kind[1:]
    status = {"ValidationException": 400, "ModelTimeoutException": 408}.get(code, 0)
    if status or code in _BUSY:
        return refusal(Failure(code, status, message), target)
    return EngineFailed(failures.BROKE_OFF, symptom=failures.service_code(code))
