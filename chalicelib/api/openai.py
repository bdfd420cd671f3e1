"""The OpenAI surface: what the official `openai` package speaks, under `/tenants/{tenant}/v1`.

A request's known members are checked, everything else passes through to the engine untouched; an
engine's answer passes back untouched.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.call import BEDROCKS, Delta, Finished, Operation, Pause, Waiting
from chalicelib.dialects import ceilings
from chalicelib.dialects.anthropic.models import ModelInfo, ModelPage, ModelsQuery, model_info, model_page
from chalicelib.http.asks import ask_of
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Piece
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import buffered, streamed, waiting
from chalicelib.http.sealed_calls import infer_sealed, is_sealed
from chalicelib.http.surface import Surface
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.pool import Pool
from chalicelib.refusal import NotFound

surface = Surface(__name__, "openai", title="OpenAI", prefix="/tenants/{tenant}/v1", auth="key")

Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Choices = Annotated[int, msgspec.Meta(ge=1, le=16)]
Tokens = list[int]


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream tells besides the answer."""

    include_usage: bool | None = None


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a chat; its other members pass through."""

    role: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    content: str | list[dict[str, Any]] | None = None


class ChatCompletionRequest(msgspec.Struct, frozen=True):
    """Members that the gateway itself looks at; all others reach the engine as they are."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Choices | None = None
    best_of: Choices | None = None  # not OpenAI's, but servers there are that generate so many


class ChatRequest(ChatCompletionRequest, frozen=True):
    """The same, but that the answer streams unless `stream` is false."""

    stream: bool | None = True


class CompletionRequest(msgspec.Struct, frozen=True):
    """Members that the gateway itself looks at; all others reach the engine as they are."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    prompt: str | list[str | int | Tokens]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None  # a chat's, but servers there are that take it here
    n: Choices | None = None
    best_of: Choices | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Members that the gateway itself looks at; all others reach the engine as they are."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    input: str | Annotated[list[str | int | Tokens], msgspec.Meta(min_length=1, max_length=2048)]


class Model(msgspec.Struct, frozen=True):
    """A model, as OpenAI has it."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "cloister"


class Models(msgspec.Struct, frozen=True):
    """All models that the key may use."""

    data: list[Model]
    object: Literal["list"] = "list"


class TokenUsage(msgspec.Struct, frozen=True):
    """The engine's own count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatAnswer(msgspec.Struct, frozen=True):
    """What the model said; its other members are the engine's (`tool_calls`, ...)."""

    role: str
    content: str | None = None


class ChatChoice(msgspec.Struct, frozen=True):
    """One of the answers that were asked for."""

    index: int
    message: ChatAnswer
    finish_reason: str | None = None


class ChatCompletion(msgspec.Struct, frozen=True):
    """An engine's answer to a chat; it passes through as the engine gave it."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage | None = None


class TextChoice(msgspec.Struct, frozen=True):
    """One of the texts that were asked for."""

    index: int
    text: str
    finish_reason: str | None = None


class Completion(msgspec.Struct, frozen=True):
    """An engine's continuation of a prompt; it passes through as the engine gave it."""

    id: str
    object: str
    created: int
    model: str
    choices: list[TextChoice]
    usage: TokenUsage | None = None


class Embedding(msgspec.Struct, frozen=True):
    """Of one text: numbers, or their bytes in base64 where `encoding_format` asks for that."""

    index: int
    embedding: list[float] | str


class Embeddings(msgspec.Struct, frozen=True):
    """An engine's embeddings; they pass through as the engine gave them."""

    object: str
    model: str
    data: list[Embedding]
    usage: TokenUsage | None = None


@surface.door(
    "POST", "/tenants/{tenant}/v1/chat/completions", permission="infer",
    summary="Answer a chat", accepts=ChatCompletionRequest, returns=ChatCompletion, streams=True, infers=True,
)  # fmt: skip
def create_chat_completion(asked: Incoming) -> Any:
    """Members that the gateway does not know reach the engine untouched, and its answer comes back untouched.

    With `stream`, the answer comes as events, the last of them `[DONE]`.
    """
    return _chat(asked, ChatCompletionRequest)


@surface.door(
    "POST", "/tenants/{tenant}/v1/chat", permission="infer",
    summary="Answer a chat, streaming", accepts=ChatRequest, returns=ChatCompletion, streams=True, infers=True,
)  # fmt: skip
def create_chat(asked: Incoming) -> Any:
    """The same as `/chat/completions`, but that the answer streams unless `stream` is false."""
    return _chat(asked, ChatRequest)


@surface.door(
    "POST", "/tenants/{tenant}/v1/completions", permission="infer",
    summary="Continue a prompt", accepts=CompletionRequest, returns=Completion, streams=True, infers=True,
)  # fmt: skip
def create_completion(asked: Incoming) -> Any:
    """`prompt` is a text, a list of texts, or tokens."""
    if is_sealed(asked):
        return infer_sealed(asked, asked.parameters["tenant"], "openai", "completions")
    request = asked.json(CompletionRequest)
    prompts = len(request.prompt) if _several(request.prompt) else 1
    choices = prompts * max(request.n or 1, request.best_of or 1)
    return _infer(asked, request, "completions", choices)


@surface.door(
    "POST", "/tenants/{tenant}/v1/embeddings", permission="infer",
    summary="Embed texts", accepts=EmbeddingRequest, returns=Embeddings, infers=True,
)  # fmt: skip
def create_embedding(asked: Incoming) -> Any:
    """`input` is a text, a list of texts, or tokens. Every text counts; nothing is generated."""
    if is_sealed(asked):
        return infer_sealed(asked, asked.parameters["tenant"], "openai", "embeddings")
    return _infer(asked, asked.json(EmbeddingRequest), "embeddings")


@surface.door(
    "GET", "/tenants/{tenant}/v1/models", permission="models.read",
    summary="List the models this key may use", query=ModelsQuery, returns=Models, returns_to_anthropic=ModelPage,
)  # fmt: skip
def list_models(asked: Incoming, caller: Caller) -> Models | ModelPage:
    """By each of their names, also by aliases. With the header `anthropic-version`, in Anthropic's shape and pages."""
    query = asked.query_as(ModelsQuery)
    names = sorted((*caller.snapshot.pools, *caller.snapshot.aliases))  # whatever can be asked for
    found = [(name, pool) for name in names if (pool := _pool(name, asked, caller))]
    return model_page(found, query) if asked.shape == "anthropic" else Models([_model(*each) for each in found])


@surface.door(
    "GET", "/tenants/{tenant}/v1/models/{model+}", permission="models.read",
    summary="Look at one model", returns=Model, returns_to_anthropic=ModelInfo,
)  # fmt: skip
def retrieve_model(asked: Incoming, caller: Caller) -> Model | ModelInfo:
    """By a name or an alias. With the header `anthropic-version`, in Anthropic's shape."""
    name = asked.parameters["model"]
    pool = _pool(name, asked, caller)
    if pool is None:
        raise NotFound(f"There is no model {name[:64]!r} for this key.", field="model")
    return model_info(name, pool) if asked.shape == "anthropic" else _model(name, pool)


def _chat(asked: Incoming, form: type[ChatCompletionRequest]) -> Any:
    if is_sealed(asked):
        return infer_sealed(asked, asked.parameters["tenant"], "openai", "chat.completions")
    request = asked.json(form)
    return _infer(asked, request, "chat.completions", max(request.n or 1, request.best_of or 1))


def _infer(
    asked: Incoming,
    request: ChatCompletionRequest | CompletionRequest | EmbeddingRequest,
    operation: Operation,
    choices: int = 1,
) -> Any:
    fields = asked.json(dict[str, msgspec.Raw])
    if operation == "embeddings":  # a member that is null is one left out, to OpenAI; servers there are that refuse it
        fields = {name: said for name, said in fields.items() if bytes(said) != b"null"}
    stream = _streams(request)
    ask = ask_of(
        asked,
        "openai",
        operation,
        tenant=asked.parameters["tenant"],
        pool=request.model,
        fields=fields,
        max_tokens=None if operation == "embeddings" else ceilings.of_chat(fields),
        choices=choices,
        stream=stream,
    )
    answer = run(ask, wiring.path())
    if not stream:
        return buffered(answer, asked, lambda whole: whole)
    options = getattr(request, "stream_options", None)
    return streamed(answer, asked, _events(answer, wants_usage=bool(options and options.include_usage)), "openai")


def _streams(request: ChatCompletionRequest | CompletionRequest | EmbeddingRequest) -> bool:
    if isinstance(request, ChatRequest):
        return request.stream is not False
    return not isinstance(request, EmbeddingRequest) and bool(request.stream)


def _events(answer: Answer, *, wants_usage: bool) -> Iterator[Piece]:
    """The answer as server-sent events in OpenAI's form."""
    for event in answer:
        if isinstance(event, Delta):
            yield b"data: " + event.data + b"\n\n"
        elif isinstance(event, Pause):
            yield event
        elif isinstance(event, Waiting):
            yield waiting(event)
        elif isinstance(event, Finished):
            usage = b"data: " + event.data + b"\n\n" if event.data and wants_usage else b""
            yield usage + b"data: [DONE]\n\n"


def _pool(name: str, asked: Incoming, caller: Caller) -> Pool | None:
    """The pool that the caller may use by this name.

    One that only passes models' own bodies on is no model to an SDK, and to Anthropic's what answers no chats.
    """
    pool = caller.snapshot.pool(name)
    if pool is None or not caller.principal.may_use(pool.name):
        return None
    if asked.shape == "anthropic":
        return pool if "chat.completions" in pool.operations else None
    return pool if any(operation not in BEDROCKS for operation in pool.operations) else None


def _model(name: str, pool: Pool) -> Model:
    return Model(id=name, created=pool.created_s)


def _several(prompt: str | list[str | int | Tokens]) -> bool:
    """A list of prompts, as against one prompt as text or as a list of tokens."""
    return isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
