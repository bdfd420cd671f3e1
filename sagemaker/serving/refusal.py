"""Every way this container says no, and the OpenAI error object each becomes.

    Refusal
    |-- Malformed        400   the request cannot be understood
    |-- ContentRefused   400   a rule of the tenant's forbids what was sealed, or its answer; the enclave says no more
    |-- NotOpened        401   the enclave does not open this request; it never says why
    |-- TimedOutReading  408   the body did not arrive in time
    |-- UnknownModel     404   no such model is loaded
    |-- NoSuchRoute      404, 405
    |-- AlreadyLoaded    409   load of a model that is there
    |-- TooLarge         413   body over the limit
    |-- AnswerTooLarge   413   the answer does not fit into what it would be sealed as
    |-- ClientLeft       499   nobody is left to answer; only ever seen in the log
    |-- EngineRefused    4xx   the engine's own words about the request; 502 when it blames itself
    |-- EngineFailed     502   the engine died, or spoke nonsense
    |-- NoRoom           503   the line is full, or the wait was too long; carries when to come back
    |-- EnclaveUnavailable 503 a sealed request, and no enclave that opens or seals
    |-- Stopping         503   this container is shutting down
    |-- EngineTimedOut   504   the engine went silent
    `-- MemoryShort      507   the model does not fit beside the others

Messages are public by contract: they never quote a request or an answer.
"""

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """The inner object of an OpenAI error."""

    message: str
    type: str
    code: str


class Refusal(Exception):
    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s: int | None = None

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"error": Problem(self.message, self.type, self.code)})

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}


class Malformed(Refusal):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class ContentRefused(Refusal):
    status, type, code = 400, "invalid_request_error", "content_refused"

    def __init__(self, sealed: bytes) -> None:
        """`sealed`: what is left of the answer to be sent, and ends it."""
        super().__init__("a rule of the tenant's forbids what was asked, or answered")
        self.sealed = sealed


class NotOpened(Refusal):
    status, type, code = 401, "invalid_request_error", "not_opened"


class TimedOutReading(Refusal):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class UnknownModel(Refusal):
    status, type, code = 404, "invalid_request_error", "model_not_found"


class NoSuchRoute(Refusal):
    status, type, code = 404, "invalid_request_error", "not_found"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AlreadyLoaded(Refusal):
    status, type, code = 409, "invalid_request_error", "model_already_loaded"


class TooLarge(Refusal):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class AnswerTooLarge(Refusal):
    status, type, code = 413, "invalid_request_error", "answer_too_large"


class ClientLeft(Refusal):
    status, type, code = 499, "invalid_request_error", "client_closed_request"


class EngineFailed(Refusal):
    status, type, code = 502, "server_error", "engine_failed"


class EngineRefused(Refusal):
    def __init__(self, status: int, message: str, type_: str, code: str) -> None:
        super().__init__(message)
        self.status, self.type, self.code = status, type_, code


class NoRoom(Refusal):
    status, type, code = 503, "server_error", "queue_full"

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_s = max(1, -(-retry_after_ms // 1000))


class EnclaveUnavailable(Refusal):
    status, type, code = 503, "server_error", "enclave_unavailable"


class Stopping(Refusal):
    status, type, code = 503, "server_error", "shutting_down"

    def __init__(self) -> None:
        super().__init__("this instance is shutting down; send the request again")
        self.retry_after_s = 1


class EngineTimedOut(Refusal):
    status, type, code = 504, "server_error", "engine_timeout"


class MemoryShort(Refusal):
    status, type, code = 507, "server_error", "insufficient_memory"
