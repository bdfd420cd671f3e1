"""The runtime: invocations in a model's own shape and by Converse, tokens counted, guardrails applied."""

import base64
import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from emulators import event_stream
from emulators.bedrock import converse, service_model
from emulators.bedrock.answer import answer
from emulators.bedrock.anthropic import Anthropic
from emulators.bedrock.blocks import GuardrailConfig
from emulators.bedrock.blocks import Request as ConverseRequest
from emulators.bedrock.catalogue import Called, Family, called, find_model
from emulators.bedrock.catalogue import Model as FoundationModel
from emulators.bedrock.control import Control
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Events, Model
from emulators.bedrock.exchange import Reply, Request, Streamed, Whole, parameters
from emulators.bedrock.guardrail import Guardrail, applied
from emulators.bedrock.llama import Llama
from emulators.bedrock.nova import Nova
from emulators.bedrock.refusal import BedrockError, invalid
from emulators.bedrock.shape import Metrics, Said, Shape, Stream, decoded, gathered

BODY_BYTES = 25_000_000
"""The service model of InvokeModel."""

_GUARDRAIL = "x-amzn-bedrock-guardrailidentifier"
_GUARDRAIL_VERSION = "x-amzn-bedrock-guardrailversion"
# Bedrock pads events, so that their sizes tell less of what is said. Readers must not mind.
_PADDING = "abcdefghijklmnop"

Framed = Callable[[dict[str, Any]], bytes]


class _InvokeModelTokens(msgspec.Struct, frozen=True):
    body: str


class _CountInput(msgspec.Struct, frozen=True, rename="camel"):
    invoke_model: _InvokeModelTokens | None = None
    converse: ConverseRequest | None = None


class _Count(msgspec.Struct, frozen=True):
    input: _CountInput


_GUARDRAILS = re.compile(
    r"(arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]{1,20}):(?P<account>\d{12}):guardrail/)?(?P<id>[a-z0-9]+)"
)
_VERSIONS = re.compile("[1-9][0-9]{0,7}|DRAFT")


class _GuardedText(msgspec.Struct, frozen=True):
    text: str


class _Guarded(msgspec.Struct, frozen=True):
    text: _GuardedText | None = None


class _Apply(msgspec.Struct, frozen=True):
    source: Literal["INPUT", "OUTPUT"]
    content: Annotated[list[_Guarded], msgspec.Meta(min_length=1)]


class _Invocation(msgspec.Struct, frozen=True):
    """What is asked of which model, and the guardrail before it."""

    model: FoundationModel
    asked: Conversation
    guardrail: Guardrail | None


class Runtime:
    """Its operations raise Refused, and ModelBroke where the model's answer breaks off."""

    def __init__(
        self, model: Model, control: Control, account: str, clock: Callable[[], int], new_id: Callable[[], UUID]
    ) -> None:
        self._model = model
        self._control = control
        self._account = account
        self._clock = clock
        self._new_id = new_id

    def called(self, request: Request) -> Called:
        """The model that an invocation is for."""
        return called(request.parameters[0], request.region, self._account, self._control.profiles)

    async def invoke(self, request: Request) -> Reply:
        shape, invocation = self._invocation(request)
        metrics, said = await self._said(invocation)
        numbers = {
            "x-amzn-bedrock-input-token-count": str(metrics.input_tokens),
            "x-amzn-bedrock-output-token-count": str(metrics.output_tokens),
            "x-amzn-bedrock-invocation-latency": str(metrics.latency_ms),
        }
        return Whole(shape.whole(said, metrics) | _action(invocation.guardrail, said.ended), headers=numbers)

    async def invoke_stream(self, request: Request) -> Reply:
        shape, invocation = self._invocation(request)
        frames = await self._frames(invocation, shape.stream(), _chunk)
        return Streamed(frames, {"x-amzn-bedrock-content-type": "application/json"})

    async def converse(self, request: Request) -> Reply:
        invocation, config = self._conversation(request)
        metrics, said = await self._said(invocation)
        return Whole(converse.whole(said, metrics) | converse.trace(config, said.ended))

    async def converse_stream(self, request: Request) -> Reply:
        invocation, config = self._conversation(request)
        return Streamed(await self._frames(invocation, converse.Stream(config), _event))

    async def count_tokens(self, request: Request) -> Reply:
        model = find_model(request.parameters[0], request.region)
        if model.family != "anthropic":
            raise invalid("The provided model doesn't support counting tokens.")
        service_model.check("CountTokens", request.body)
        wanted = parameters(request.body, _Count).input
        if wanted.invoke_model:
            body = decoded(wanted.invoke_model.body, "input.invokeModel.body")
            asked = self._shape(model.family, model.id).read(body, model)
        elif wanted.converse:
            asked = converse.conversation(wanted.converse, model)
        else:
            raise invalid("The input must have either invokeModel or converse.")
        return Whole({"inputTokens": await self._model.count(asked) + asked.image_tokens})

    async def apply_guardrail(self, request: Request) -> Reply:
        identifier, version = request.parameters
        named = _GUARDRAILS.fullmatch(identifier)
        if named is None or not _VERSIONS.fullmatch(version):
            raise invalid("The provided guardrail identifier or version is invalid.")
        service_model.check("ApplyGuardrail", request.body)
        wanted = parameters(request.body, _Apply)
        if named["account"] not in (None, self._account):
            raise BedrockError(
                "AccessDeniedException", "You don't have sufficient permissions to access the guardrail."
            )
        found = self._control.guardrail(named["id"], version)
        if found is None or named["region"] not in (None, request.region):
            raise BedrockError(
                "ResourceNotFoundException",
                "The guardrail identifier or version provided in the request does not exist.",
            )
        return Whole(applied(found, wanted.source, [each.text.text for each in wanted.content if each.text]))

    def _invocation(self, request: Request) -> tuple[Shape, _Invocation]:
        if len(request.body) > BODY_BYTES:
            raise invalid(
                "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length "
                f"less than or equal to {BODY_BYTES}"
            )
        model = self.called(request).model
        shape = self._shape(model.family, model.id)
        guardrail = self._guardrail(request.headers.get(_GUARDRAIL, ""), request.headers.get(_GUARDRAIL_VERSION, ""))
        return shape, _Invocation(model, shape.read(request.body, model), guardrail)

    def _conversation(self, request: Request) -> tuple[_Invocation, GuardrailConfig | None]:
        model = self.called(request).model
        service_model.check("Converse", request.body)
        body = parameters(request.body, ConverseRequest)
        asked = converse.conversation(body, model)
        if asked.tools and not model.tools:
            raise invalid("This model doesn't support tool use.")
        if asked.image_tokens and not model.images:
            raise invalid("This model doesn't support the image field. Remove image and try again.")
        config = body.guardrail_config
        if config is None:
            return _Invocation(model, asked, None), None
        guardrail = self._guardrail(config.guardrail_identifier, config.guardrail_version)
        return _Invocation(model, asked, guardrail), config

    def _guardrail(self, identifier: str, version: str) -> Guardrail | None:
        if not identifier:
            return None
        found = self._control.guardrail(identifier, version)
        if found is None:
            raise invalid("The guardrail identifier or version provided in the request does not exist.")
        return found

    def _shape(self, family: Family, model_id: str) -> Shape:
        if family == "anthropic":
            return Anthropic(self._new_id, model_id.removeprefix("anthropic.").rpartition("-v")[0])
        return Nova() if family == "nova" else Llama()

    def _answer(self, invocation: _Invocation) -> Events:
        laid = self._control.answer()
        return answer(invocation.model, invocation.asked, self._model, laid, invocation.guardrail, self._new_id)

    async def _said(self, invocation: _Invocation) -> tuple[Metrics, Said]:
        began_ms = self._clock()
        input_tokens, said = gathered([event async for event in self._answer(invocation)])
        latency_ms = self._clock() - began_ms
        return Metrics(input_tokens, said.ended.output_tokens, latency_ms, latency_ms), said

    async def _frames(self, invocation: _Invocation, stream: Stream, framed: Framed) -> AsyncIterator[bytes]:
        """The frames of an answer whose first event has come: until then a refusal still has a status."""
        began_ms = self._clock()
        said = self._answer(invocation)
        ahead: list[Event] = [await anext(said), await anext(said)]
        first_byte_ms = self._clock() - began_ms

        async def frames() -> AsyncIterator[bytes]:
            input_tokens = 0
            async for event in _then(ahead, said):
                if isinstance(event, Began):
                    input_tokens = event.input_tokens
                if isinstance(event, Ended):
                    latency_ms = self._clock() - began_ms
                    shown = stream.last(event, Metrics(input_tokens, event.output_tokens, latency_ms, first_byte_ms))
                else:
                    shown = stream.events(event)
                for each in shown:
                    yield framed(each)

        return frames()


async def _then(ahead: Iterable[Event], rest: Events) -> Events:
    for event in ahead:
        yield event
    async for event in rest:
        yield event


def _chunk(members: dict[str, Any]) -> bytes:
    """An event of InvokeModelWithResponseStream: the model's own JSON, in base64."""
    return _frame("chunk", {"bytes": base64.b64encode(msgspec.json.encode(members)).decode()})


def _event(event: dict[str, Any]) -> bytes:
    """An event of ConverseStream: its only key is its type."""
    ((kind, members),) = event.items()
    return _frame(kind, members)


def _frame(kind: str, members: dict[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    # Its framing serves any event; the names that it gives it are SageMaker's.
    return event_stream._message(headers, msgspec.json.encode(members | {"p": _PADDING}))


def _action(guardrail: Guardrail | None, ended: Ended) -> dict[str, str]:
    if guardrail is None:
        return {}
    intervened = ended.reason == "guardrail_intervened"
    return {"amazon-bedrock-guardrailAction": "INTERVENED" if intervened else "NONE"}
