"""What a target's error means for the caller: HTTP status or OpenAI error object in, Refusal out.

Only the complaint of a target about the request itself is shown, and without the target's address in it;
every other text is ours, so that nothing of how a pool is run reaches a caller.
"""

import re
from typing import Any

import msgspec

from chalicelib.pool import Target
from chalicelib.refusal import (
    CODES,
    CONTEXT_LENGTH_EXCEEDED,
    ContentRefused,
    EngineFailed,
    EngineTimedOut,
    Malformed,
    NoCapacity,
    NotOpened,
    Refusal,
    TooLarge,
)

GROWN_LIMIT_BYTES = 64 * 1024 * 1024
"""Of a stream whose answer is held until its end: far above what any ceiling lets a model say, one token a chunk."""

MESSAGE_LIMIT = 500  # characters of a target's complaint that are passed on
RETRY_LIMIT_MS = 600_000  # a target that asks for more patience than this is not believed

BROKE_OFF = "The model broke off before its answer was complete."
NOT_UNDERSTOOD = "The model's answer was not understood."
UNREACHABLE = "The model could not be reached."
SILENT = "The model did not answer in time."
TOO_LONG = "The model's answer is over the size limit."
FULL = "The model is at its capacity."
AT_ZERO = "No copy of the model runs. Where it scales from zero, one is started now, which takes minutes."
FAILED = "The model failed."
# What only the operator can mend. That it is so helps callers.
NO_CREDENTIALS = "The gateway has no credentials for the model. Tell its operator."
REFUSED = "The model refused the gateway's credentials or permissions. Tell the gateway's operator."
NO_ENCLAVE = "No enclave is there to open the request. Try again."
AGAINST_RULES = "What was asked or answered is against the rules that it was judged by."
MALFORMED = "The model says that the request is malformed."
TOO_LONG_FOR_MODE = (
    "The answer does not fit into the 4,096 bytes of mode kms. Ask for fewer tokens, or seal in mode esdk or hpke."
)

_EXCEEDED = re.compile(
    r"maximum context length|longer than the (model's context|maximum model) length|prompt is too long"
    r"|exceeds? the (available context size|context window|model's maximum context length)"
    r"|exceed context (window|limit)|input is too long|too large to process|input tokens exceed"
    r"|`inputs`( tokens \+ `max_new_tokens`)? must (be <=|have less than)",
    re.IGNORECASE,
)
"""How vLLM, SGLang, TGI, llama.cpp, Claude, Nova and others say that a prompt is longer than their context."""

_LENGTHS = (
    r"context length is (?P<context>\d+) tokens\D{1,64} (?P<prompt>\d+) ",
    r"\(length (?P<prompt>\d+)\) is longer than the maximum model length of (?P<context>\d+)",
    r"\((?P<prompt>\d+) tokens\) (is longer than|exceeds) the [\w' ]{1,40} \((?P<context>\d+) tokens\)",
    r"must (be <=|have less than) (?P<context>\d+)( tokens)?\. Given: (?P<prompt>\d+)",
)
"""Where vLLM (as OpenAI), vLLM, SGLang and llama.cpp, and TGI say how long it is, and their context.

Compiled when the first such complaint comes: a cold start does not pay for them.
"""

_MEMBER = re.compile(r"[\w.\[\]-]{1,64}")
_SERVICE_CODE = re.compile(r"[A-Z][A-Za-z]{2,63}")

_STATUS_OF_TYPE = {
    "exceed_context_size_error": 400,
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "Bad Request": 400,
    "validation": 422,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded": 503,
    "overloaded_error": 503,
    "queue_full": 503,
    "shutting_down": 503,
    "service_unavailable": 503,
    "unavailable_error": 503,
    "engine_timeout": 504,
}

# What else servers call a failure. No other word of theirs is told: it could be a piece of a prompt or of a key.
_KNOWN = {
    *_STATUS_OF_TYPE,
    *("model_not_found", "not_found_error", "NotFoundError", "invalid_api_key", "authentication_error"),
    *("permission_error", "insufficient_quota", "billing_not_active", "server_error", "internal_error", "api_error"),
    *("InternalServerError", "engine_failed", "engine_restarting", "generation", "not_found", "model_not_ready"),
}


class _Error(msgspec.Struct):
    """OpenAI's error object, as loosely as servers write it."""

    message: str = ""
    type: str | None = None
    code: int | str | None = None
    param: Any = None  # a member of the request, where it is a text


class _Body(msgspec.Struct):
    error: _Error | str | None = None
    # vLLM before 0.10 wrote the error's members at the top.
    object: str | None = None
    message: str = ""
    code: int | str | None = None
    # TGI names the kind beside a plain text.
    error_type: str | None = None


_body = msgspec.json.Decoder(_Body)


def parse(body: bytes) -> _Error | None:
    """The error object in a JSON text, whichever server wrote it; None where there is none."""
    try:
        found = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(found.error, _Error):
        return found.error
    if isinstance(found.error, str):
        return _Error(found.error, found.error_type)
    if found.object == "error":
        return _Error(found.message, None, found.code)
    return None


def of_status(status: int, body: bytes, target: Target, retry_in_ms: int | None = None) -> Refusal:
    """The refusal for an HTTP answer that is not 2xx. `body` may be cut off."""
    return _refusal(status, body, target, f"http {status}", retry_in_ms)


def _refusal(status: int, body: bytes, target: Target, met: str, retry_in_ms: int | None = None) -> Refusal:
    if status in (400, 422):
        error = parse(body)
        if error is not None and error.code == "content_refused":  # our containers' word for what was sealed
            return ContentRefused(AGAINST_RULES)
        return _malformed(error, target)
    if status == 401 and (error := parse(body)) and error.code == "not_opened":
        return NotOpened()
    if status in (401, 403):
        return EngineFailed(REFUSED, symptom=_symptom(met, parse(body)))
    if status == 413:
        error = parse(body)
        too_long = error is not None and error.code == "answer_too_large"
        return TooLarge(TOO_LONG_FOR_MODE if too_long else "The request is too large for the model.")
    if status in (429, 503):
        error = parse(body)
        absent = error is not None and error.code == "enclave_unavailable"
        return NoCapacity(NO_ENCLAVE if absent else FULL, retry_in_ms=retry_in_ms, symptom=_symptom(met, error))
    if status in (408, 504):
        return EngineTimedOut(SILENT, symptom=_symptom(met, parse(body)))
    error = parse(body)
    if status >= 500 and error and _code(error) == CONTEXT_LENGTH_EXCEEDED:
        return _malformed(error, target)  # llama.cpp calls it its own fault
    return EngineFailed(FAILED, symptom=_symptom(met, error))


def of_sealed(status: int, code: str, message: str, target: Target) -> Refusal:
    """The refusal for a sealed answer that our container ended with one."""
    return of_status(status, msgspec.json.encode({"error": {"message": message, "code": code}}), target)


def in_stream(body: bytes, target: Target) -> Refusal:
    """The refusal for an error object that came in place of an answer, under status 200."""
    error = parse(body)
    if error is None:
        return EngineFailed(FAILED, symptom="error in the answer")
    return _refusal(_status(error.code, error.type), body, target, "error in the answer")


def service_code(code: str) -> str:
    """The code of an AWS service's error as a symptom; empty where it is none."""
    return code if _SERVICE_CODE.fullmatch(code) else ""


def retry_after_ms(value: str | None) -> int | None:
    """A Retry-After header in seconds (its HTTP-date form is not used by model servers)."""
    if value is None:
        return None
    try:
        wait_ms = round(float(value) * 1_000)
    except (ValueError, OverflowError):
        return None
    return min(max(wait_ms, 0), RETRY_LIMIT_MS)


def _status(*hints: int | str | None) -> int:
    for hint in hints:
        if isinstance(hint, int):
            return hint
        if isinstance(hint, str):
            if hint.isascii() and hint.isdigit():
                return int(hint[:3])
            if hint in _STATUS_OF_TYPE:
                return _STATUS_OF_TYPE[hint]
    return 500


def _symptom(met: str, error: _Error | None) -> str:
    """What was met, with the server's own word for it where that is one of those that servers have."""
    words = (error.code, error.type) if error else ()
    return " ".join([met, *[str(word) for word in words if word in _KNOWN][:1]])


def _malformed(error: _Error | None, target: Target) -> Malformed:
    if error is None:
        return Malformed(MALFORMED)
    field = error.param if isinstance(error.param, str) and _MEMBER.fullmatch(error.param) else None
    code = _code(error)
    lengths = _lengths(error.message) if code == CONTEXT_LENGTH_EXCEEDED else None
    complaint = _complaint(error.message, target) or MALFORMED
    return Malformed(complaint, field=field, code=code, prompt_over_context=lengths)


def _code(error: _Error) -> str | None:
    """The code that programs act on, whichever words the target has for it."""
    if error.code in CODES:
        return str(error.code)
    exceeded = error.type == "exceed_context_size_error" or _EXCEEDED.search(error.message[:MESSAGE_LIMIT])
    return CONTEXT_LENGTH_EXCEEDED if exceeded else None


def _lengths(message: str) -> tuple[int, int] | None:
    """Of the prompt and of the context, in tokens, where the server says both."""
    said = message[:MESSAGE_LIMIT]
    found = next((found for words in _LENGTHS if (found := re.search(words, said, re.IGNORECASE))), None)
    return (int(found["prompt"]), int(found["context"])) if found else None


def _complaint(message: str, target: Target) -> str:
    for secret in target.secrets:
        message = message.replace(secret, "the model")
    # Whole words: an endpoint may be called `embed`, and nobody says `the modeldings`.
    addresses = sorted(filter(None, target.addresses), key=len, reverse=True)
    for address in addresses:
        message = re.sub(rf"(?<![\w-]){re.escape(address)}(?![\w-])", "the model", message)
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"
