"""Refusals as the caller sees them: one table joins them to HTTP, three functions draw them.

Native routes answer RFC 9457 `application/problem+json`; OpenAI routes answer OpenAI's error object, in
which an exhausted budget is 429 `insufficient_quota`, as their SDK expects; Anthropic routes answer Anthropic's,
in which a missing capacity is 529 `overloaded_error` (https://docs.claude.com/en/api/errors); routes for AWS's SDKs
answer Bedrock's exceptions.
"""

from typing import Literal

import msgspec

from chalicelib.call import MESSAGES
from chalicelib.inference.answer import CLIENT_LEFT, REVOKED
from chalicelib.ledger import Entry
from chalicelib.refusal import (
    CONTEXT_LENGTH_EXCEEDED,
    Conflict,
    ContentRefused,
    Crowded,
    EngineFailed,
    EngineTimedOut,
    Forbidden,
    Malformed,
    MethodNotAllowed,
    NoCapacity,
    NotFound,
    NotOpened,
    OverBudget,
    QuotaExhausted,
    RateLimited,
    Refusal,
    TooLarge,
    TooSlow,
    Unauthenticated,
)

Shape = Literal["openai", "anthropic", "bedrock", "problem"]

PAGES = "/problems"
"""Where the gateway itself explains the `type` of every problem."""


class Kind(msgspec.Struct, frozen=True):
    """How one class of refusal looks over HTTP."""

    status: int
    title: str
    openai_type: str
    openai_code: str
    anthropic_type: str
    openai_status: int | None = None  # where it is not `status`
    anthropic_status: int | None = None
    own_name: str = ""  # where it is not OpenAI's, which has one word for two

    @property
    def name(self) -> str:
        """On the wire: the last part of a problem's `type`."""
        return self.own_name or self.openai_code.replace("_", "-")


KINDS: dict[type[Refusal], Kind] = {
    Malformed: Kind(400, "Malformed request", "invalid_request_error", "invalid_request", "invalid_request_error"),
    Unauthenticated: Kind(401, "Not authenticated", "invalid_request_error", "invalid_api_key", "authentication_error"),
    NotOpened: Kind(
        401, "Key validation failed", "invalid_request_error", "key_validation_failed", "authentication_error"
    ),
    OverBudget: Kind(
        402,
        "Over budget",
        "insufficient_quota",
        "insufficient_quota",
        "billing_error",
        openai_status=429,
        own_name="over-budget",
    ),
    ContentRefused: Kind(400, "Content refused", "invalid_request_error", "content_refused", "invalid_request_error"),
    Forbidden: Kind(403, "Not permitted", "invalid_request_error", "permission_denied", "permission_error"),
    NotFound: Kind(404, "Not found", "invalid_request_error", "not_found", "not_found_error"),
    MethodNotAllowed: Kind(
        405, "Method not allowed", "invalid_request_error", "method_not_allowed", "invalid_request_error"
    ),
    TooSlow: Kind(408, "Too slow", "invalid_request_error", "request_timeout", "timeout_error"),
    Conflict: Kind(409, "Conflict", "invalid_request_error", "conflict", "conflict_error"),
    TooLarge: Kind(413, "Too large", "invalid_request_error", "too_large", "request_too_large"),
    RateLimited: Kind(429, "Rate limited", "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error"),
    QuotaExhausted: Kind(429, "Quota exhausted", "insufficient_quota", "insufficient_quota", "rate_limit_error"),
    Crowded: Kind(429, "Too many requests in flight", "rate_limit_exceeded", "too_many_in_flight", "rate_limit_error"),
    EngineFailed: Kind(502, "The model failed", "server_error", "engine_failed", "api_error"),
    NoCapacity: Kind(503, "No capacity", "server_error", "no_capacity", "overloaded_error", anthropic_status=529),
    EngineTimedOut: Kind(504, "The model timed out", "server_error", "engine_timed_out", "timeout_error"),
}

EXCEPTIONS: dict[type[Refusal], str] = {
    Malformed: "ValidationException",
    Unauthenticated: "AccessDeniedException",
    NotOpened: "AccessDeniedException",
    OverBudget: "ServiceQuotaExceededException",
    ContentRefused: "ValidationException",
    Forbidden: "AccessDeniedException",
    NotFound: "ResourceNotFoundException",
    MethodNotAllowed: "ValidationException",
    TooSlow: "ModelTimeoutException",  # "The request took too long to process."
    Conflict: "ConflictException",
    TooLarge: "ValidationException",
    RateLimited: "ThrottlingException",
    QuotaExhausted: "ServiceQuotaExceededException",
    Crowded: "ThrottlingException",
    EngineFailed: "ModelErrorException",
    NoCapacity: "ServiceUnavailableException",
    EngineTimedOut: "ModelTimeoutException",
}
"""What AWS's SDKs raise: exceptions that Bedrock's runtime has, so that a client that knows it knows them all.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""

FAULT_EXCEPTION = "InternalServerException"

QUOTA_STATUS = 400
"""Bedrock's own for a quota. By 429, the SDKs would try again within seconds, which is in vain."""

CLIENT_LEFT_STATUS = 499
"""nginx's, for an answer that nobody waited for."""

FAULT = Kind(500, "Internal error", "server_error", "internal_error", "api_error")
FAULT_TEXT = "Something broke on our side. Try again; if it persists, report the request id."

SDK_PATIENCE_MS = 60_000
"""OpenAI's SDKs wait no longer: told of a longer wait, they try again after seconds, which is in vain. Anthropic's
wait as long as they are told, which nobody who called them expects."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with the request's id and, for limits, which one and when to come back."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    limit: str | None = None
    remaining: int | None = None
    retry_in_ms: int | None = None
    field: str | None = None
    code: str | None = None


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    """The members of OpenAI's error object, and ours that its SDK ignores."""

    message: str
    type: str
    code: str
    param: str | None
    request_id: str
    limit: str | None = None
    remaining: int | None = None
    retry_in_ms: int | None = None


class OpenAIError(msgspec.Struct, frozen=True):
    """What OpenAI's SDKs raise."""

    error: OpenAIErrorBody


class AnthropicDetails(msgspec.Struct, frozen=True):
    """Where Anthropic's SDKs look for a code that they act on."""

    error_code: str


class AnthropicErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of Anthropic's error object, and ours that its SDK ignores."""

    type: str
    message: str
    limit: str | None = None
    remaining: int | None = None
    retry_in_ms: int | None = None
    field: str | None = None
    code: str | None = None
    details: AnthropicDetails | None = None


class AnthropicError(msgspec.Struct, frozen=True):
    """What Anthropic's SDKs raise."""

    error: AnthropicErrorBody
    request_id: str
    type: Literal["error"] = "error"


class BedrockError(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "__type"}):
    """An exception of AWS's, whose name clients read from a header, from `code` or from `__type`; and ours besides."""

    kind: str
    code: str
    message: str
    request_id: str
    limit: str | None = None
    remaining: int | None = None
    retry_in_ms: int | None = None
    field: str | None = None
    reason: str | None = None  # a Refusal's own code, whose name is taken here


ErrorBody = Problem | OpenAIError | AnthropicError | BedrockError

SCHEMAS: dict[Shape, type[ErrorBody]] = {
    "problem": Problem,
    "openai": OpenAIError,
    "anthropic": AnthropicError,
    "bedrock": BedrockError,
}


def kind_of(error: Exception) -> Kind:
    return KINDS.get(type(error), FAULT) if isinstance(error, Refusal) else FAULT


def exception_of(error: Exception) -> str:
    """The exception that AWS's SDKs raise for it."""
    return EXCEPTIONS.get(type(error), FAULT_EXCEPTION) if isinstance(error, Refusal) else FAULT_EXCEPTION


def status_of(error: Exception, shape: Shape) -> int:
    return status_of_kind(kind_of(error), shape)


def status_of_kind(kind: Kind, shape: Shape) -> int:
    own = {
        "problem": None,
        "openai": kind.openai_status,
        "anthropic": kind.anthropic_status,
        "bedrock": QUOTA_STATUS if kind.openai_code == "insufficient_quota" else None,
    }
    return own[shape] or kind.status


def status_of_entry(entry: Entry) -> int | None:
    """What the caller of a request in the ledger was answered; None where nobody lived to answer."""
    if entry.outcome != "failed":
        return 200 if entry.outcome == "completed" else None
    if entry.reason == CLIENT_LEFT:
        return CLIENT_LEFT_STATUS
    if entry.reason == REVOKED:
        return KINDS[Forbidden].status
    kind = next((kind for refusal, kind in KINDS.items() if refusal.__name__ == entry.reason), None)
    if kind is None:
        return None
    return (entry.operation in MESSAGES and kind.anthropic_status) or kind.status


def body_of(error: Exception, shape: Shape, request_id: str) -> ErrorBody:
    """The error's body. An exception that is no Refusal is drawn without its text."""
    kind = kind_of(error)
    refusal = error if isinstance(error, Refusal) and kind is not FAULT else Refusal(FAULT_TEXT)
    if shape == "openai":
        return OpenAIError(
            OpenAIErrorBody(
                message=refusal.text,
                type=kind.openai_type,
                code=refusal.code or kind.openai_code,
                param=refusal.field,
                request_id=request_id,
                limit=refusal.limit,
                remaining=refusal.remaining,
                retry_in_ms=refusal.retry_in_ms,
            )
        )
    if shape == "anthropic":
        return AnthropicError(
            AnthropicErrorBody(
                type=kind.anthropic_type,
                message=_in_anthropics_words(refusal),
                limit=refusal.limit,
                remaining=refusal.remaining,
                retry_in_ms=refusal.retry_in_ms,
                field=refusal.field,
                code=refusal.code,
                details=AnthropicDetails(refusal.code) if refusal.code else None,
            ),
            request_id,
        )
    if shape == "bedrock":
        name = exception_of(error)
        return BedrockError(
            kind=name,
            code=name,
            message=_in_bedrocks_words(refusal),
            request_id=request_id,
            limit=refusal.limit,
            remaining=refusal.remaining,
            retry_in_ms=refusal.retry_in_ms,
            field=refusal.field,
            reason=refusal.code,
        )
    return Problem(
        type=f"{PAGES}/{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=refusal.text,
        request_id=request_id,
        limit=refusal.limit,
        remaining=refusal.remaining,
        retry_in_ms=refusal.retry_in_ms,
        field=refusal.field,
        code=refusal.code,
    )


def _in_anthropics_words(refusal: Refusal) -> str:
    """Anthropic has no code for a prompt that is too long: its clients know it by its text, and compact.

    By how much, they read there too.
    """
    said = "prompt is too long"
    if refusal.code != CONTEXT_LENGTH_EXCEEDED or said in refusal.text:
        return refusal.text
    if refusal.prompt_over_context:
        prompt, context = refusal.prompt_over_context
        return f"{said}: {prompt} tokens > {context} maximum"
    return f"{said}: {refusal.text}"


def _in_bedrocks_words(refusal: Refusal) -> str:
    """Nor has Bedrock: another ValidationException, which its clients know by these words."""
    said = "Input is too long"
    if refusal.code == CONTEXT_LENGTH_EXCEEDED and said.lower() not in refusal.text.lower():
        return f"{said} for requested model: {refusal.text}"
    return refusal.text


def headers_of(error: Exception, shape: Shape) -> dict[str, str]:
    """The headers that go with the error's body: content type, and when to come back."""
    headers = {"Content-Type": "application/problem+json" if shape == "problem" else "application/json"}
    if shape == "bedrock":
        headers["X-Amzn-ErrorType"] = exception_of(error)
    if isinstance(error, Unauthenticated | NotOpened):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allowed))
    if shape != "problem" and _in_vain(error):
        headers["X-Should-Retry"] = "false"
    if not isinstance(error, Refusal) or error.retry_in_ms is None:
        return headers
    # Whole seconds, rounded up: a client that waits so long is not early (RFC 9110, section 10.2.3).
    headers["Retry-After"] = str(-(-error.retry_in_ms // 1000))
    # Both SDKs read this one first and wait to the millisecond.
    headers["Retry-After-Ms"] = str(error.retry_in_ms)
    if error.limit is not None:
        headers["RateLimit"] = f'"{error.limit}";r={error.remaining or 0};t={-(-error.retry_in_ms // 1000)}'
    return headers


def _in_vain(error: Exception) -> bool:
    """Whether the SDKs and what is made of them, which would, had better not repeat the request by themselves."""
    if isinstance(error, Conflict | Unauthenticated):  # Claude Code repeats a 401 for three minutes
        return True
    return isinstance(error, Refusal) and error.retry_in_ms is not None and error.retry_in_ms > SDK_PATIENCE_MS
