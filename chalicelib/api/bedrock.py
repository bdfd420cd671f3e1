"""Bedrock for signed callers: a model's own body in, its own answer out, across partitions, and audited.

Callers sign with AWS Signature 4; API Gateway checks that, and tells whose signature it is. The tenant's first pool
that offers `invoke` says where the models are, unless X-Model-Pool names another.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.api.openai import Count
from chalicelib.call import Delta, Waiting
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.http.audited import audited
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import buffered, streamed, waiting
from chalicelib.http.permitted import signed, signer
from chalicelib.http.surface import Surface
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.inference.plan import Ask, offering
from chalicelib.refusal import Malformed, NotFound

surface = Surface(__name__, shape="problem", auth="iam")

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
    models: list[FoundationModel]


class _Configuration(msgspec.Struct, frozen=True):
    max_tokens: Count | None = msgspec.field(default=None, name="maxTokens")
    max_new_tokens: Count | None = None


class _Body(msgspec.Struct, frozen=True):
    """By what names providers know the most tokens that they shall generate."""

    max_tokens: Count | None = None  # Anthropic, Mistral, OpenAI
    max_gen_len: Count | None = None  # Llama
    inference_config: _Configuration = msgspec.field(default=_Configuration(), name="inferenceConfig")  # Nova

    @property
    def ceiling(self) -> int | None:
        configured = self.inference_config
        return self.max_tokens or self.max_gen_len or configured.max_tokens or configured.max_new_tokens


@surface.door(
    "POST", "/v1/bedrock/invoke-model",
    summary="Invoke a Bedrock model", accepts=InvokeRequest, returns=dict[str, Any], streams=True, infers=True,
    headers=("X-Data-Classification",),
)  # fmt: skip
def invoke_model(asked: Incoming) -> Reply:
    caller = signer(asked)
    request = asked.json(InvokeRequest)
    fields = asked.json(dict[str, msgspec.Raw])
    if isinstance(request.body, str):
        fields["body"] = msgspec.Raw(request.body.encode())
    body = _read(bytes(fields["body"]))
    house = wiring.house()
    answer = run(
        Ask(
            credential=None,
            iam_arn=caller,
            tenant=None,
            surface="bedrock",
            operation="invoke",
            pool=asked.headers.get("x-model-pool", ""),
            fields=fields,
            request_id=asked.request_id,
            max_tokens=body.ceiling,
            stream=request.stream,
            idempotency_key=asked.headers.get("idempotency-key"),
            model_id=request.model_id,
            audited=audited(
                asked,
                house.settings.region,
                model_id=request.model_id,
                inference_profile=request.inference_profile or "",
            ),
        ),
        house,
    )
    if request.stream:
        return streamed(answer, asked, Events(answer), "problem")
    return buffered(answer, asked, lambda whole: whole)


@surface.door(
    "GET", "/v1/bedrock/models",
    summary="The Bedrock models of the tenant's pool", query=ModelsQuery, returns=BedrockModels,
)  # fmt: skip
def list_bedrock_models(asked: Incoming) -> BedrockModels:
    query = asked.query_as(ModelsQuery)
    principal, snapshot = signed(asked, "models.read")
    pool = offering("invoke", snapshot)
    if pool is None or not principal.may_use(pool.name):
        raise NotFound("This tenant has no pool of Bedrock models. Ask the operator of the service for one.")
    target = next((target for target in pool.targets if target.engine == "bedrock"), None)
    listed = wiring.models()(target) if target else ()
    return BedrockModels([model for model in listed if _wanted(model, query)])


def _wanted(model: FoundationModel, query: ModelsQuery) -> bool:
    modalities = {each.upper() for each in (*model.input_modalities, *model.output_modalities)}
    return (
        (query.provider is None or query.provider.lower() == model.provider.lower())
        and (query.modality is None or query.modality.upper() in modalities)
        and (query.needs_profile is None or query.needs_profile == model.needs_profile)
    )


class Events:
    """A model's own chunks as server-sent events; a last event `done` says that they are all."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        for event in self._answer:
            if isinstance(event, Waiting):
                yield waiting(event)
            elif isinstance(event, Delta):
                yield b"data: " + event.data + b"\n\n"
        yield b"event: done\ndata: {}\n\n"


def _read(body: bytes) -> _Body:
    try:
        return msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        raise Malformed(f"body: {error}.", field="body") from None
    except msgspec.DecodeError:
        raise Malformed("`body` is not the JSON object that a model takes.", field="body") from None
