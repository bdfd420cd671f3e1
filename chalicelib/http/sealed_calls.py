"""Sealed requests on the inference routes: headers and ciphertext in, ciphertext out (docs/sealed-formats.md)."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.call import Delta, Operation, Pause, SealMode
from chalicelib.http.asks import ask_of
from chalicelib.http.doors import Piece, Reply
from chalicelib.http.incoming import Incoming, misfit
from chalicelib.http.outgoing import STREAMS, Outflow, inference_headers
from chalicelib.http.route import SEALED_TYPE
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.inference.plan import SealedRequest
from chalicelib.refusal import EngineFailed, Malformed
from chalicelib.tenancy.tenant import SurfaceName


class SealHeaders(msgspec.Struct, frozen=True, rename=lambda name: f"x-{name.replace('_', '-')}"):
    """What the gateway must know of a request that it cannot read."""

    model_pool: Annotated[str, msgspec.Meta(min_length=1)]
    seal_mode: SealMode = "kms"
    kms_key_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    seal_stream: bool = False
    request_id: str | None = None


def is_sealed(asked: Incoming) -> bool:
    return asked.media_type == SEALED_TYPE


def infer_sealed(asked: Incoming, tenant: str | None, surface: SurfaceName, operation: Operation) -> Reply:
    """Run a sealed request as the route would run it in the clear. Raises: Refusal, StoreUnavailable."""
    headers = _headers(asked)
    if headers.seal_stream and (headers.seal_mode == "kms" or surface == "native" or operation == "embeddings"):
        raise Malformed(
            "Only chats and completions on the OpenAI routes stream sealed, in mode esdk or hpke.",
            field="X-Seal-Stream",
        )
    # In these modes the id is inside the seal: one of our own would never fit.
    if headers.seal_mode != "kms" and headers.request_id != asked.request_id:
        raise Malformed(
            "Send the X-Request-ID that the request was sealed for: 1 to 64 letters, digits or ._:-",
            field="X-Request-ID",
        )
    if not asked.body:
        raise Malformed("The sealed request is missing: the body is empty.")
    ask = ask_of(
        asked,
        surface,
        operation,
        tenant=tenant,
        pool=headers.model_pool,
        fields={},
        max_tokens=headers.max_tokens,
        stream=headers.seal_stream,
        sealed=SealedRequest(headers.seal_mode, headers.kms_key_id, asked.body),
    )
    answer = run(ask, wiring.path())
    out = {"Content-Type": SEALED_TYPE, "Cache-Control": "no-store", "X-Seal-Mode": headers.seal_mode}
    if headers.seal_stream:
        out |= STREAMS
        if answer.buffered:
            out["X-Stream"] = "buffered"
        return Reply(Outflow(answer, _pieces(answer), None, asked.ids), out | inference_headers(answer, asked))
    with answer:
        whole = b"".join(piece for piece in _pieces(answer) if not isinstance(piece, Pause))
        if not whole:
            raise EngineFailed("The model gave an empty answer. Try again.")
    return Reply(whole, out | inference_headers(answer, asked))


def _pieces(answer: Answer) -> Iterator[Piece]:
    for event in answer:
        if isinstance(event, Pause):
            yield event
        elif isinstance(event, Delta) and event.data:
            yield event.data


def _headers(asked: Incoming) -> SealHeaders:
    try:
        return msgspec.convert(dict(asked.headers), SealHeaders, strict=False)
    except msgspec.ValidationError as error:
        raise misfit(error, SealHeaders) from None
