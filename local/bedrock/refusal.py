"""Every way that the local Bedrock says no, by Bedrock's own error names and, where they are known, in its words."""

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


class Refused(Exception):
    """An answer that is an error. `code` is what an SDK calls it; `text` is public and quotes no secret."""

    def __init__(self, code: str, text: str = "", *, retry_after_s: int | None = None) -> None:
        text = text or TEXT.get(code, code)
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = STATUS[code]
        self.retry_after_s = retry_after_s


def invalid(text: str) -> Refused:
    return Refused("ValidationException", text)


def malformed(found: str) -> Refused:
    """A body that is not the model's: `found` names the places, each beginning with `#`."""
    return invalid(f"Malformed input request: {found}, please reformat your input and try again.")


def unknown_model() -> Refused:
    return invalid("The provided model identifier is invalid.")


def needs_profile(model_id: str) -> Refused:
    return invalid(
        f"Invocation of model ID {model_id} with on-demand throughput isn’t supported. Retry your request with the ID "
        "or ARN of an inference profile that contains this model."
    )
