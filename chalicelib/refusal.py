"""Every way we say no. The caller's next move decides the class; its text is public by contract.

    Refusal
    |-- Malformed         mend the request
    |-- Unauthenticated   bring a valid credential (one text for unknown, revoked and expired)
    |-- NotOpened         seal it anew, with a key that is registered (one text for whatever was wrong)
    |-- OverBudget        raise the budget
    |-- ContentRefused    leave out what the tenant's rules forbid
    |-- Forbidden         ask for the permission
    |-- NotFound          name something that exists (and is yours)
    |-- MethodNotAllowed  use a method that `Allow` lists
    |-- TooSlow           send it again, without pauses
    |-- Conflict          look at what is there first, then repeat
    |-- TooLarge          send or ask for less
    |-- RateLimited       wait `retry_in_ms`
    |-- QuotaExhausted    wait for the window, or change plan
    |-- Crowded           wait for one of your own requests
    |-- NoCapacity        ours; wait `retry_in_ms`
    |-- EngineFailed      ours; try again
    `-- EngineTimedOut    ours; try again, or ask for less

A leaf: every room raises these, `http/problems.py` alone knows their HTTP shape. They do not inherit
from Chalice's errors, which Chalice would answer by itself. `StoreUnavailable` is none of them: a fault within, which
whoever can carries on without, and which a caller otherwise sees as NoCapacity.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalicelib.call import Usage

CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
CODES = (
    CONTEXT_LENGTH_EXCEEDED,  # compact the conversation
    *("content_filter", "content_policy_violation"),  # do not repeat it
    *("unsupported_parameter", "unsupported_value"),  # leave the member out
)
"""What programs act on, where a model's server says it of a request and the class alone does not: OpenAI's codes."""

THREAD_UNSUPPORTED = "thread_unsupported_request"
"""Anthropic's, which their SDKs' runners of tools act on: send the whole conversation."""


class StoreUnavailable(Exception):
    """DynamoDB did not answer in time, or refused for a reason that is not a failed condition."""


class Refusal(Exception):
    """A request that was not, or not fully, answered. `text` is shown to the caller as it is."""

    def __init__(
        self,
        text: str,
        *,
        field: str | None = None,
        code: str | None = None,
        limit: str | None = None,
        remaining: int | None = None,
        retry_in_ms: int | None = None,
        symptom: str = "",
        unsent: bool = False,
        prompt_over_context: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.field = field  # the request's member that is wrong
        self.code = code  # one of CODES, or THREAD_UNSUPPORTED
        self.limit = limit  # the limit that denied
        self.remaining = remaining  # what that limit still allows, in its own unit
        self.retry_in_ms = retry_in_ms  # exact time until the same call would pass
        self.symptom = symptom  # what was met at a target, as a code: for its operator, never for the caller
        self.prompt_over_context = prompt_over_context  # tokens of a prompt that is too long, and those it may have
        self.unsent = unsent  # whether it came before anything of the request had gone to the target
        self.tenant = ""  # whose caller proved to be refused
        self.pool = ""  # that they asked for, where there is such a one
        self.admitted = False  # whether it refused what had been admitted, so that its caller is known


class Malformed(Refusal):
    """The request cannot be understood, or the engine says it cannot."""


class Unauthenticated(Refusal):
    """No valid credential. Missing, unknown, revoked and expired are one text, so that nobody learns which it was."""

    # Another text is for what no tenant takes for a credential: it says nothing of the one that was named.

    API_KEY = "The API key or token is missing, unknown, revoked or expired. Send `Authorization: Bearer ck_...`."

    def __init__(self, text: str = API_KEY) -> None:
        super().__init__(text)


class NotOpened(Refusal):
    """Something sealed that the tenant's key does not open. On each route one text, so that nobody learns why."""

    REQUEST = (
        "Key validation failed: the sealed request cannot be opened with a key that is registered to this tenant, "
        "or it was sent before. Seal it anew under a registered key, for this tenant, request id and pool."
    )

    def __init__(self, text: str = REQUEST) -> None:
        super().__init__(text)


class OverBudget(Refusal):
    """A budget that the tenant set for itself is used up."""


class ContentRefused(Refusal):
    """A rule of the tenant's own forbids what is asked, or answered. `symptom`: which rule, for the tenant's owners."""

    usage: "Usage | None" = None  # of an answer that was refused, as far as its engine has counted


class Forbidden(Refusal):
    """A valid principal without the permission."""


class NotFound(Refusal):
    """No such thing, or none that this principal may know of."""


class MethodNotAllowed(Refusal):
    """Something is served there, but not by this method."""

    def __init__(self, text: str, allowed: Collection[str]) -> None:
        super().__init__(text)
        self.allowed = allowed


class TooSlow(Refusal):
    """The request took too long to arrive."""


class Conflict(Refusal):
    """The state of the thing does not allow this now."""


class TooLarge(Refusal):
    """Over a bound that waiting does not change."""


class RateLimited(Refusal):
    """A rate is exceeded; `retry_in_ms` is exact."""


class QuotaExhausted(Refusal):
    """The plan's window is used up; `retry_in_ms` is the time until the next window."""


class Crowded(Refusal):
    """All of the tenant's concurrent requests are in flight."""


class NoCapacity(Refusal):
    """No healthy target, a full queue, or a store that does not answer."""


class EngineFailed(Refusal):
    """The engine broke, or answered nonsense."""


class EngineTimedOut(Refusal):
    """The engine did not answer in time."""
