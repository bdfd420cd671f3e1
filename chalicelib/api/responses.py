"""OpenAI's Responses, under `/tenants/{tenant}/v1/responses`: the wire that the `openai` package speaks by default.

A request's form is checked here; what an item or a tool may be is the dialect's to say. Engines answer in a Response's
own JSON: a whole one, or one text for each event of a stream.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.api.kept_responses import Keeping, gone_on
from chalicelib.api.openai import Count
from chalicelib.call import Delta, Pause, Waiting
from chalicelib.dialects import ceilings
from chalicelib.http import problems
from chalicelib.http.asks import ask_of
from chalicelib.http.doors import Piece
from chalicelib.http.ids import Ids
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import buffered, streamed, waiting
from chalicelib.http.sealed_calls import is_sealed
from chalicelib.http.surface import Surface, error_to_show
from chalicelib.identity import identify
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.refusal import EngineFailed, Malformed

surface = Surface(__name__, "openai", title="OpenAI Responses", prefix="/tenants/{tenant}/v1/responses", auth="key")

One = Annotated[int, msgspec.Meta(ge=1, le=1)]
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]

LAST = ("response.completed", "response.incomplete")


class Item(msgspec.Struct, frozen=True):
    """An item of the input; its other members depend on its type, and pass through."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    role: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class ResponseRequest(msgspec.Struct, frozen=True):
    """Members that the gateway itself looks at; the others are for the dialect, or reach the engine as they are."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    input: Annotated[str, msgspec.Meta(min_length=1)] | Annotated[list[Item], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Count | None = None
    metadata: Metadata | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    n: One | None = None  # a chat's, and servers there are that would generate so many
    best_of: One | None = None


class ResponseUsage(msgspec.Struct, frozen=True):
    """The server's own count."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class Response(msgspec.Struct, frozen=True):
    """An answer, as OpenAI has it: what was asked, and what came of it."""

    id: str
    created_at: int
    model: str
    status: Literal["completed", "incomplete"]
    output: list[Item]
    usage: ResponseUsage
    object: Literal["response"] = "response"


class _Event(msgspec.Struct):
    type: Annotated[str, msgspec.Meta(pattern=r"^[a-z_.]{1,64}$")]
    sequence_number: int = 0
    response: msgspec.Raw = msgspec.Raw(b"null")


_event = msgspec.json.Decoder(_Event)


@surface.door(
    "POST", "/tenants/{tenant}/v1/responses", permission="infer",
    summary="Answer a Response", accepts=ResponseRequest, returns=Response, streams=True, infers=True, clear_only=True,
)  # fmt: skip
def create_response(asked: Incoming) -> Any:
    """On every pool that answers chats. Nothing is kept unless `store` is true.

    With `stream`, the answer comes as named events, the last of them `response.completed` or `response.incomplete`.
    """
    if is_sealed(asked):
        raise Malformed("Responses are not sealed: seal a chat, and send it to .../chat/completions.")
    request = asked.json(ResponseRequest)
    fields = asked.json(dict[str, msgspec.Raw])
    fields, keeping = _conversed(asked, request, fields)
    stream = bool(request.stream)
    ask = ask_of(
        asked,
        "openai",
        "responses",
        tenant=asked.parameters["tenant"],
        pool=request.model,
        fields=fields,
        max_tokens=ceilings.of_response(fields),
        stream=stream,
        refusal=_refused_late,
    )
    answer = run(ask, wiring.path())
    try:
        if keeping is not None:
            keeping.begin()  # not before it is admitted: who is denied causes no writes
    except BaseException as error:
        answer.fail(error)
        raise
    if stream:
        events = _events(answer, asked.ids, keeping)
        return streamed(answer, asked, events, "openai", leave=None if keeping is None else keeping.leave)
    try:
        return buffered(answer, asked, lambda whole: _kept(whole, keeping))
    except BaseException:
        _given_up(keeping)
        raise


def _conversed(
    asked: Incoming, request: ResponseRequest, fields: dict[str, msgspec.Raw]
) -> tuple[dict[str, msgspec.Raw], Keeping | None]:
    """The request with what was kept of its conversation in its input; and what is to be kept of itself.

    Raises: Refusal, StoreUnavailable.
    """
    refers = any(item.type == "item_reference" for item in request.input if isinstance(item, Item))
    if not (request.store or request.previous_response_id or refers):
        return fields, None
    path = wiring.path()
    # Afresh: what was kept is read before the admission, which would notice a revoked key.
    principal, snapshot = identify(
        asked.credential, asked.tenant, path.snapshots.fresh, path.clock(), path.verified, asked.source
    )
    principal.must("infer")
    principal.must_come_by(asked.route, "openai")
    items, whole = gone_on(fields, request.previous_response_id, principal, path.settings.body_limit_bytes)
    pool = snapshot.pool(request.model)  # by its own name, as keys are narrowed to; where there is none, none is run
    if not request.store:
        return {**fields, "input": whole}, None
    keeping = Keeping(asked, snapshot.tenant, pool.name if pool else "", items)
    if "x-request-id" in asked.headers:  # nobody else's id can be there
        keeping.must_be_free()
    return {**fields, "input": whole}, keeping


def _kept(whole: bytes, keeping: Keeping | None) -> bytes:
    """Before the end is read, which settles: an answer that could not be kept is not charged."""
    if keeping is not None:
        keeping.end(whole)
    return whole


def _given_up(keeping: Keeping | None) -> None:
    if keeping is not None:
        keeping.give_up()


def _events(answer: Answer, ids: Ids, keeping: Keeping | None) -> Iterator[Piece]:
    """The answer as server-sent events in a Response's form, which names each, and says itself that it broke."""
    created = last = b""
    following = 0
    try:
        for event in answer:
            if isinstance(event, Waiting):
                yield waiting(event)
            elif isinstance(event, Pause):
                yield event
            elif isinstance(event, Delta):
                told = _told(event.data)
                created, following = created or event.data, told.sequence_number + 1
                framed = _framed(told.type, event.data)
                if told.type in LAST:
                    if keeping is not None:
                        yield Pause.ASIDE
                    _kept(bytes(told.response), keeping)
                    last = framed  # whoever has read it may leave: the answer is to be settled by then
                else:
                    yield framed
        yield last
    except Exception as error:
        yield Pause.ASIDE
        answer.fail(error)
        _given_up(keeping)
        # Here and not by a refusal of OpenAI's usual shape: who reads a Response waits for the event that ends it.
        yield from _ending(error_to_show(error, ids), created, following, ids.request_id)


def _ending(error: Exception, created: bytes, number: int, request_id: str) -> Iterator[bytes]:
    body = problems.body_of(error, "openai", request_id)
    assert isinstance(body, problems.OpenAIError)
    return _broken(body, created, number)


def _refused_late(body: bytes) -> bytes:
    """What refuses a stream that was opened before its model had said anything."""
    return b"".join(_broken(msgspec.json.decode(body, type=problems.OpenAIError), b"", 0))


def _broken(body: problems.OpenAIError, created: bytes, number: int) -> Iterator[bytes]:
    # Not at the top, as in `engines.begin`.
    from chalicelib.dialects.responses.answers import broken

    said = body.error
    code = said.type if said.type == "server_error" else said.code
    for data in broken(created, number, code, said.message, said.param, said.request_id):
        yield _framed(_told(data).type, data)


def _told(data: bytes) -> _Event:
    try:
        return _event.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed("The model's answer could not be read. Try again.") from None


def _framed(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
