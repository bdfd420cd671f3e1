"""Bedrock for signed callers: a model's own body in, its own answer out, across partitions, and audited.

Callers sign with AWS Signature 4; API Gateway checks that, and tells whose signature it is. The tenant's first pool
that offers `invoke` says where the models are, unless X-Model-Pool names another.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.call import Delta, Pause, Waiting
from chalicelib.dialects import ceilings
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.http.asks import ask_of
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Piece, Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import buffered, streamed, waiting
from chalicelib.http.surface import Surface
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.inference.plan import offering
from chalicelib.pool import Bedrock
from chalicelib.refusal import NotFound

surface = Surface(__name__, "bedrock", title="Bedrock", prefix="/v1/bedrock", auth="signed")

ModelId = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]  # an ARN is one, too


class InvokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A Bedrock model's own request. `body` is its JSON, or that as text, as AWS's SDKs take it."""

    model_id: ModelId
    body: dict[str, Any] | str
    content_type: Literal["application/json"] | None = None
    accept: Literal["application/json", "*/*"] | None = None
    inference_profile: ModelId | None = None
    stream: bool = False


class ModelsQuery(msgspec.Struct, frozen=True, rename="camel"):
    """Which models; all that are left out do not matter. `modality` counts in or out: TEXT, IMAGE, EMBEDDING, ..."""

    provider: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    modality: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    needs_profile: bool | None = None


class BedrockModels(msgspec.Struct, frozen=True):
    """Models, in the order that Bedrock lists them."""

    models: list[FoundationModel]


@surface.door(
    "POST", "/v1/bedrock/invoke-model", permission="infer",
    summary="Invoke a Bedrock model", accepts=InvokeRequest, returns=dict[str, Any], streams=True, infers=True,
    headers=("X-Data-Classification",),
)  # fmt: skip
def invoke_model(asked: Incoming) -> Reply:
    """`body` goes to the model as it is, and its answer comes back as it is.

    With `stream`, its chunks come as events, the last of them `done`.
    """
    from chalicelib.dialects import invoke  # not for those who only chat

    request = asked.json(InvokeRequest)
    fields = asked.json(dict[str, msgspec.Raw])
    if isinstance(request.body, str):
        fields["body"] = msgspec.Raw(request.body.encode())
    invoke.must_be_the_callers(bytes(fields["body"]))
    ask = ask_of(
        asked,
        "bedrock",
        "invoke",
        tenant=None,
        pool=asked.headers.get("x-model-pool", ""),
        fields=fields,
        max_tokens=ceilings.of_body(bytes(fields["body"]), request.model_id),
        stream=request.stream,
        model_id=request.model_id,
        inference_profile=request.inference_profile or "",
    )
    answer = run(ask, wiring.path())
    if request.stream:
        return streamed(answer, asked, _events(answer), "problem")
    return buffered(answer, asked, lambda whole: whole)


@surface.door(
    "GET", "/v1/bedrock/models", permission="models.read",
    summary="The Bedrock models of the tenant's pool", query=ModelsQuery, returns=BedrockModels,
)  # fmt: skip
def list_bedrock_models(asked: Incoming, caller: Caller) -> BedrockModels:
    """Of the tenant's first pool that offers `invoke`: what its credentials may see."""
    query = asked.query_as(ModelsQuery)
    pool = offering("invoke", caller.snapshot, caller.principal)
    if pool is None:
        raise NotFound("This tenant has no pool of Bedrock models. Ask the operator of the service for one.")
    target = next((target for target in pool.targets if isinstance(target, Bedrock)), None)
    listed = wiring.models()(target) if target else ()
    return BedrockModels([model for model in listed if _wanted(model, query)])


def _wanted(model: FoundationModel, query: ModelsQuery) -> bool:
    modalities = {each.upper() for each in (*model.input_modalities, *model.output_modalities)}
    return (
        (query.provider is None or query.provider.lower() == model.provider.lower())
        and (query.modality is None or query.modality.upper() in modalities)
        and (query.needs_profile is None or query.needs_profile == model.needs_profile)
    )


def _events(answer: Answer) -> Iterator[Piece]:
    """A model's own chunks as server-sent events; a last event `done` says that they are all."""
    for event in answer:
        if isinstance(event, Waiting):
            yield waiting(event)
        elif isinstance(event, Pause):
            yield event
        elif isinstance(event, Delta):
            yield b"data: " + event.data + b"\n\n"
    yield b"event: done\ndata: {}\n\n"
