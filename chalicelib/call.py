"""What is asked of an engine, and the events it answers with. A leaf: every room may import it.

Streaming is the base case. An engine yields `Waiting`* `Started` `Delta`* and exactly one `Finished`;
a stream that ends without `Finished` is a failed engine. A buffered answer is one `Delta` that holds
the whole body, so unknown response fields pass through byte for byte in both cases.

A thread takes events and waits for each. A loop must not wait: once it polls a stream, that says `Pause` wherever a
thread would wait, and its `Source` tells when to go on. What makes the events is the same for both.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Literal, Protocol

import msgspec

Operation = Literal[
    "chat.completions",
    "completions",
    "embeddings",
    "messages",  # Anthropic's Messages, as they are
    "messages.count_tokens",
    "responses",  # OpenAI's Responses, as they are
    "invoke",  # a Bedrock model's own body
    "converse",  # Bedrock's Converse, as it is
]
MESSAGES: tuple[Operation, ...] = ("messages", "messages.count_tokens")
"""Anthropic's: a chat, and the count of its tokens."""
BEDROCKS: tuple[Operation, ...] = ("invoke", "converse")
"""Bedrock's own: each call names its model."""

AS_CHATS: tuple[Operation, ...] = (*MESSAGES, "responses")
"""What whoever answers chats answers as well, by asking a chat that says the same."""

SealMode = Literal["kms", "esdk", "hpke"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt's, those that the engine had read before

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Call(msgspec.Struct, frozen=True):
    """One request to an engine: OpenAI-shaped, its unknown fields untouched; or sealed, and then opaque.

    `fields` holds the request's JSON members undecoded; `model`, `stream`, `stream_options` and the
    token ceiling are the gateway's and are written by `dialects.openai.request` for each target. A sealed call goes to
    every target as the same bytes: ticket and ciphertext. What the ticket says binds the target.
    """

    request_id: str
    operation: Operation
    pool: str
    fields: Mapping[str, msgspec.Raw]
    stream: bool
    prompt_tokens: int  # the estimate that was reserved
    ceiling_tokens: int  # the most each choice may generate; 0 where nothing is generated (embeddings)
    choices: int  # how many answers are generated side by side (`n`, times the prompts)
    tenant_tag: str  # opaque: the engine's fairness and cache key, never the tenant's name
    priority: int = 5  # 0 lowest .. 9 highest
    alias: str = ""  # the name by which the caller asked for the pool, where it is not the pool's own
    model_id: str = ""  # the model that one of BEDROCKS names; the target's own where it names one
    traceparent: str = ""  # the request's place in its trace (W3C Trace Context), for an engine that takes part
    sealed: bytes = b""  # the ticket and the sealed request, as a container takes them; empty: in the clear

    def forgotten(self) -> "Call":
        """The same, without what is asked of the model: for who has sent it, and goes on for as long as it answers."""
        return msgspec.structs.replace(self, fields={}, sealed=b"")

    @property
    def model_name(self) -> str:
        """What the caller calls the model, and every answer says."""
        return self.alias or self.pool


class Waiting(msgspec.Struct, frozen=True):
    """The engine has queued the request; more of these may follow."""

    queue_position: int
    predicted_start_ms: int
    instance: str = ""  # whose queue it is


class Started(msgspec.Struct, frozen=True):
    """The engine took the request: which instance, and how long it had waited there."""

    instance: str
    queue_ms: int = 0
    buffered: bool = False  # asked for as a stream, but the target could only answer at once
    detail: Mapping[str, str] = {}  # what else the target said of the call, for the ledger


class Delta(msgspec.Struct, frozen=True):
    """One JSON text, shaped as the operation is: a chunk of a stream, or a whole buffered answer.

    Sealed, it is any piece of one.
    """

    data: bytes
    tokens: int = 0  # completion tokens it carries, as well as can be told without the engine's count


class Finished(msgspec.Struct, frozen=True):
    """The end: usage where the engine reported it, and the chunk that carried it, if any."""

    usage: Usage | None
    data: bytes = b""
    found: bool = False  # sealed: whether a rule of the tenant's was met, where it was opened


class Pause(Enum):
    """In place of an event, of a stream that is polled: why the next one is not there. Nothing to a thread."""

    LULL = "nothing has come: look again when the source can be read"
    ASIDE = "what comes next writes: take it in a thread"
    LENGTHY = "what comes next waits for others, or computes for long: take it in a thread of those that tenants share"


Event = Waiting | Started | Delta | Finished | Pause


class Source(Protocol):
    """Where a stream's bytes come from, as a loop waits for them. Used in the loop only.

    It is not listened to while a thread takes the stream's events, or closes it: a file may be another's by then.
    """

    def poll(self) -> None:
        """From now on the stream says LULL where nothing has come."""

    def fileno(self) -> int:
        """What can be read once something has come; -1 where nothing tells so: look again soon."""

    def receive(self) -> None:
        """Take in what has come, a piece at most, without waiting. What fails here, the stream's next event raises."""

    def patience_s(self) -> float:
        """How long nothing may come from now on; then the next event is to be taken, which raises EngineTimedOut."""


class Stream(Protocol):
    """One running call at an engine. The holder closes it, always."""

    @property
    def source(self) -> Source:
        """What a loop waits for."""

    def __iter__(self) -> Iterator[Event]:
        """Events in order. Raises EngineFailed or EngineTimedOut when the engine breaks off."""

    def close(self) -> None:
        """Stop the generation and free the connection. Idempotent; may be called from another thread
        while one is blocked reading, which then raises EngineFailed promptly."""


Watch = Callable[[Stream, Call], Stream]
"""Who sees what an engine answers to a call, in the dialect of that call, before anybody else does."""


def unwatched(stream: Stream, _call: Call) -> Stream:
    return stream
