"""Engines: one protocol, one file for each kind of target. Engines know nothing of tenants or limits.

    openai_compatible   vLLM, TGI, SGLang, llama.cpp, our container     sagemaker   endpoints
    bedrock/            Amazon Bedrock                                  scripted    answers from a script
    transport/          bodies and streams over HTTP                    secrets_manager   what is kept there
    server_keys         keys of servers, kept there

How to add one stands in CONTRIBUTING. Dialects that it does not speak it gets for nothing, by `begin`.
"""

from collections.abc import Collection
from typing import Protocol, TypeVar

from chalicelib.call import MESSAGES, Call, Operation, Stream, Watch, unwatched
from chalicelib.pool import Capacity
from chalicelib.refusal import Malformed

T = TypeVar("T", contravariant=True)


class Engine(Protocol[T]):
    """The code that talks to one kind of target. Safe to use from many threads."""

    def speaks(self, target: T) -> Collection[Operation]:
        """The operations that the target takes in the caller's own dialect."""

    def open(self, target: T, call: Call) -> Stream:
        """Send a call that the target speaks, and return once it has begun to answer (status and headers are in).

        Raises:
            Malformed, TooLarge: the target says the request is wrong; another target would say so too.
            NoCapacity: the target is full or throttles; another may have room.
            EngineFailed, EngineTimedOut: the target broke before its first byte.
        """

    def consult(self, target: T, question: bytes) -> bytes:
        """Ask the enclave behind the target; `question` is a ticket and what it permits to ask.

        Raises: NotOpened, TooLarge: the enclave's word. NoCapacity, EngineFailed, EngineTimedOut: no enclave told.
        """

    def probe(self, target: T) -> Capacity:
        """Ask the target, within a short deadline, how it is. Raises EngineFailed or EngineTimedOut."""


def begin(engine: Engine[T], target: T, call: Call, watch: Watch = unwatched) -> Stream:
    """The call as the target speaks it: as it is, or as a chat that asks the same, its answer told in the caller's way.

    Raises: as Engine.open. Malformed, where the target has no way to say it.
    """

    def opened(spoken: Call) -> Stream:
        return watch(engine.open(target, spoken), spoken)

    spoken = engine.speaks(target)
    if call.sealed or call.operation in spoken:  # sealed, nobody here could say it otherwise
        return opened(call)
    if call.operation in MESSAGES and "chat.completions" in spoken:
        # Not at the top: who sends chats to servers that speak them does not pay for loading it.
        from chalicelib.dialects.anthropic.answers import Answered
        from chalicelib.dialects.anthropic.requests import as_chat

        # Who takes models' own bodies is Bedrock, whose chats have cache points.
        chat = as_chat(call, extras=("cache_control",) if "invoke" in spoken else ())
        return Answered(opened(chat), call.forgotten())
    if call.operation == "completions" and "chat.completions" in spoken:
        from chalicelib.dialects import completions

        return completions.Answered(opened(completions.as_chat(call)), call.forgotten())
    if call.operation == "responses" and "chat.completions" in spoken:
        from chalicelib.dialects.responses import answers, requests

        return answers.Answered(opened(requests.as_chat(call)), call)
    raise Malformed(f"This model does not offer {call.operation}: send a chat.", field="model")
