"""Every way that the local Bedrock says no, by Bedrock's own error names and, where they are known, in its words."""

import re

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises where bytes are no JSON, or nest deeper than anybody means."""

_PLACED = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<where>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")

STATUS = {
    "AccessDeniedException": 403,
    "ConflictException": 400,
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 403,
    "InternalServerException": 500,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "ModelErrorException": 424,
    "ModelNotReadyException": 429,
    "ModelStreamErrorException": 424,
    "ModelTimeoutException": 408,
    "RequestEntityTooLargeException": 413,
    "ResourceNotFoundException": 404,
    "SerializationException": 400,
    "ServiceQuotaExceededException": 400,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}
"""The service models of botocore (bedrock, bedrock-runtime), and the front door that all of AWS has in common."""

_UNEXPECTED = "The system encountered an unexpected error during processing. Try your request again."

TEXT = {
    "InternalServerException": _UNEXPECTED,
    "ModelErrorException": _UNEXPECTED,
    "ModelNotReadyException": "Model is not ready for inference. Wait and try your request again.",
    "ModelStreamErrorException": _UNEXPECTED,
    "ModelTimeoutException": "Model has timed out in processing the request. Try your request again.",
    "ServiceUnavailableException": "Bedrock is unable to process your request.",
    "ThrottlingException": "Too many requests, please wait before trying again.",
}
"""What Bedrock says where it says nothing about the request."""


class BedrockError(Exception):
    """An answer that is an error. `code` is what an SDK calls it; `text` is public and quotes no secret."""

    def __init__(self, code: str, text: str = "", *, retry_after_s: int | None = None) -> None:
        text = text or TEXT.get(code, code)
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = STATUS[code]
        self.retry_after_s = retry_after_s


def invalid(text: str) -> BedrockError:
    return BedrockError("ValidationException", text)


def invalid_member(error: msgspec.ValidationError) -> BedrockError:
    """A member of an operation's parameters is wrong; list members are counted from 1, as AWS does."""
    what, steps = _placed(error)
    where = ".".join(name or f"{int(index) + 1}.member" for name, index in steps)
    return invalid(f"1 validation error detected: Value at '{where}' failed to satisfy constraint: {what}")


def malformed_member(error: msgspec.ValidationError) -> BedrockError:
    """A member of a model's own body is wrong."""
    what, steps = _placed(error)
    return malformed(f"#{''.join(f'/{name or index}' for name, index in steps)}: {what}")


def malformed(found: str) -> BedrockError:
    """A body that is not the model's: `found` names the places, each beginning with `#`."""
    return invalid(f"Malformed input request: {found}, please reformat your input and try again.")


def unknown_model() -> BedrockError:
    return invalid("The provided model identifier is invalid.")


def needs_profile(model_id: str) -> BedrockError:
    return invalid(
        f"Invocation of model ID {model_id} with on-demand throughput isn’t supported. Retry your request with the ID "
        "or ARN of an inference profile that contains this model."
    )


def _placed(error: msgspec.ValidationError) -> tuple[str, list[tuple[str, str]]]:
    """What is wrong, and the steps to where: names and indexes, of which each step has one."""
    found = _PLACED.fullmatch(str(error))
    assert found, "it matches whatever there is"
    return found["what"], _STEP.findall(found["where"] or "")
