"""The native surface: `POST /inference`, how the service stands, and the pages that describe it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.api.openai import ChatMessage, Count, TokenUsage
from chalicelib.call import Delta, Pause, Usage, Waiting
from chalicelib.dialects import ceilings
from chalicelib.http.asks import ask_of
from chalicelib.http.doors import Piece, Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import buffered, streamed, waiting
from chalicelib.http.sealed_calls import infer_sealed, is_sealed
from chalicelib.http.surface import Surface, drawn
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.placement.report import Status, standing
from chalicelib.refusal import EngineFailed, Malformed

surface = Surface(__name__, "native", title="Native", prefix="/inference", auth="key")
public = Surface(__name__, "native", title="The service", prefix="/", auth="none")


class InferenceRequest(msgspec.Struct, frozen=True):
    """`prompt` or `messages`; all members that are not listed reach the engine as they are."""

    prompt: str | None = None
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)] | None = None
    model: str | None = None  # the pool, where the header X-Model-Pool does not name it
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None  # there is one text in the answer
    best_of: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    stream: bool | None = None


class InferenceAnswer(msgspec.Struct, frozen=True):
    """The text, and why it ended."""

    text: str
    finish_reason: str | None
    usage: TokenUsage
    model: str
    request_id: str


class Health(msgspec.Struct, frozen=True):
    """How the targets were when they were last asked, which is each minute: asking here asks none of them.

    Capacities count requests side by side, over all targets of all pools; null where nothing is known.
    """

    status: Status
    region: str
    available_capacity: int | None
    total_capacity: int | None
    avg_queue_depth: float | None
    unknown_targets: int | None  # that are not asked, since it could start them: what may be scaled to zero
    asked_at: str | None
    age_ms: int | None
    timestamp: str


class Standing(msgspec.Struct, frozen=True):
    """Of this process alone; no target is asked."""

    status: Literal["live", "ready"]
    region: str


class _Part(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Part = _Part()
    delta: _Part = _Part()
    finish_reason: str | None = None


class _Chat(msgspec.Struct, frozen=True):
    """Of an engine's chat answer or chunk, what the native answer needs."""

    choices: list[_Choice] = []
    usage: TokenUsage | None = None

    @property
    def choice(self) -> _Choice:
        return self.choices[0] if self.choices else _Choice()


@surface.door(
    "POST", "/inference", permission="infer",
    summary="Run a model", accepts=InferenceRequest, returns=InferenceAnswer, streams=True, infers=True,
    headers=("X-Tenant-ID", "X-Model-Pool", "X-Request-ID"),
)  # fmt: skip
def infer(asked: Incoming) -> Reply:
    """`prompt` or `messages`; the pool in `X-Model-Pool` or `model`.

    With `stream`, each event is `{"text"}`, and the last one the rest of the answer.
    """
    if is_sealed(asked):
        return infer_sealed(asked, asked.tenant, "native", "chat.completions")
    request = asked.json(InferenceRequest)
    if (request.prompt is None) == (request.messages is None):
        raise Malformed("Send either `prompt` or `messages`.", field="prompt")
    pool = asked.headers.get("x-model-pool") or request.model
    if not pool:
        raise Malformed("Name the model pool in the header X-Model-Pool.", field="model")
    fields = asked.json(dict[str, msgspec.Raw])
    prompt = fields.pop("prompt", None)
    if prompt is not None:
        fields["messages"] = msgspec.Raw(b'[{"role":"user","content":' + bytes(prompt) + b"}]")
    ask = ask_of(
        asked,
        "native",
        "chat.completions",
        tenant=asked.tenant,
        pool=pool,
        fields=fields,
        max_tokens=ceilings.of_chat(fields),
        stream=bool(request.stream),
    )
    answer = run(ask, wiring.path())
    if request.stream:
        return streamed(answer, asked, _events(answer, pool, asked.request_id), "problem")
    return buffered(answer, asked, lambda whole: _translated(whole, pool, asked.request_id))


@public.door(
    "GET", "/live", permission="public", summary="Whether this process answers", returns=Standing, at_once=True
)  # fmt: skip
def live(_: Incoming) -> Standing:
    return Standing("live", wiring.path().settings.region)


@public.door(
    "GET", "/ready", permission="public",
    summary="Whether requests may be sent here: settings and store are there", returns=Standing,
    own_statuses={503: "The store does not answer"}, probes=True,
)  # fmt: skip
def ready(_: Incoming) -> Standing:
    wiring.reports().latest()
    return Standing("ready", wiring.path().settings.region)


@public.door(
    "GET", "/health", permission="public",
    summary="What can be run, as of the last minute", returns=Health, own_statuses={503: "No target is healthy"},
    probes=True,
)  # fmt: skip
def health(_: Incoming) -> Reply:
    """`healthy`: every target answers; `degraded`: some; `unhealthy`, with 503: none; `unknown`: none was asked."""
    now_ms = wiring.path().clock()
    report = wiring.reports().latest()
    status = standing(report, now_ms)
    known = report if status != "unknown" else None
    body = Health(
        status=status,
        region=wiring.path().settings.region,
        available_capacity=known.available if known else None,
        total_capacity=known.total if known else None,
        avg_queue_depth=round(known.queued / known.answering, 2) if known and known.answering else None,
        unknown_targets=report.not_asked if report else None,
        asked_at=_moment(report.asked_ms) if report else None,
        age_ms=now_ms - report.asked_ms if report else None,
        timestamp=_moment(now_ms),
    )
    reply = drawn(body, 503 if status == "unhealthy" else 200)
    if status == "unhealthy":
        reply.headers["Retry-After"] = "60"  # when they are asked again
    return reply


@public.door("GET", "/openapi.json", permission="public", summary="This API, as OpenAPI 3.1", returns=dict[str, Any])
def describe(asked: Incoming) -> dict[str, Any]:
    from chalicelib.http import openapi  # nobody else pays for loading it

    return openapi.document(asked.mount("/openapi.json"))


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _events(answer: Answer, pool: str, request_id: str) -> Iterator[Piece]:
    """The answer as server-sent events: `{"text"}` for each piece, at last the rest of the answer."""
    finish_reason = None
    for event in answer:
        if isinstance(event, Waiting):
            yield waiting(event)
        elif isinstance(event, Pause):
            yield event
        elif isinstance(event, Delta):
            chat = _chat(event.data)
            finish_reason = chat.choice.finish_reason or finish_reason
            if chat.choice.delta.content:
                yield b"data: " + msgspec.json.encode({"text": chat.choice.delta.content}) + b"\n\n"
    last = InferenceAnswer("", finish_reason, _usage(answer.usage), pool, request_id)
    yield b"data: " + msgspec.json.encode(last) + b"\n\n"


def _translated(whole: bytes, pool: str, request_id: str) -> bytes:
    chat = _chat(whole)
    return msgspec.json.encode(
        InferenceAnswer(
            text=chat.choice.message.content or "",
            finish_reason=chat.choice.finish_reason,
            usage=chat.usage or TokenUsage(),
            model=pool,
            request_id=request_id,
        )
    )


def _usage(usage: Usage) -> TokenUsage:
    return TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def _chat(data: bytes) -> _Chat:
    try:
        return msgspec.json.decode(data, type=_Chat)
    except msgspec.MsgspecError:
        raise EngineFailed("The model's answer could not be read. Try again.") from None
