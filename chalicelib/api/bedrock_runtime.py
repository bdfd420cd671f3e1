"""Bedrock's own runtime API, for AWS's SDKs as they are: InvokeModel, Converse and their streams.

A method of API Gateway asks for a signature or it does not, so that there are two addresses: signed callers call
/v1/bedrock, as for our other routes there; callers with an API key, which these SDKs send too, their tenant's own.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from chalicelib import wiring
from chalicelib.call import Delta, Finished, Operation, Pause
from chalicelib.dialects import ceilings, eventstream
from chalicelib.http import problems
from chalicelib.http.asks import ask_of
from chalicelib.http.doors import Piece, Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import Outflow, buffered, inference_headers
from chalicelib.http.route import FRAMED_TYPE, SEALED_TYPE
from chalicelib.http.surface import Surface
from chalicelib.inference import run
from chalicelib.inference.answer import Answer
from chalicelib.refusal import Malformed

BELOW = "/v1/bedrock/model"
OF_TENANT = f"/tenants/{{tenant}}{BELOW}"

signed = Surface(__name__, "bedrock", title="Bedrock runtime", prefix=BELOW, auth="signed")
keyed = Surface(__name__, "bedrock", title="Bedrock runtime", prefix=OF_TENANT, auth="key")

OPERATORS = {
    "x-amzn-bedrock-guardrailidentifier": "",
    "x-amzn-bedrock-guardrailversion": "",
    "x-amzn-bedrock-performanceconfig-latency": "standard",
    "x-amzn-bedrock-service-tier": "default",
}
"""What InvokeModel takes in headers and is the operator's to say, as in `verbatim.OPERATORS`; and what is the same as
nothing."""

IN_STREAM = {
    "ModelErrorException": "modelStreamErrorException",
    "ModelTimeoutException": "modelStreamErrorException",
    "ServiceUnavailableException": "serviceUnavailableException",
    "ThrottlingException": "throttlingException",
    "ValidationException": "validationException",
}
"""The exceptions that both streams may end with. SDKs show nothing of one that they do not know there."""

Events = Callable[[bytes], Iterable[tuple[str, bytes]]]
"""What a piece of an answer is as events: their types and their JSON."""

ANY: dict[str, Any] = {"accepts": dict[str, Any], "permission": "infer", "infers": True}
HEADERS = ("X-Data-Classification", "X-Model-Pool")
INVOKES = {**ANY, "summary": "Invoke a Bedrock model, for AWS's SDKs", "headers": HEADERS}
CONVERSES = {**ANY, "summary": "Converse with a Bedrock model, for AWS's SDKs", "headers": HEADERS}
WHOLE: dict[str, Any] = {"returns": dict[str, Any]}
STREAMS: dict[str, Any] = {"streams": True}


@signed.door("POST", f"{BELOW}/{{model}}/invoke", name="bedrock_invoke", **INVOKES, **WHOLE)
@keyed.door("POST", f"{OF_TENANT}/{{model}}/invoke", name="bedrock_invoke_with_key", **INVOKES, **WHOLE)
def invoke(asked: Incoming) -> Reply:
    """InvokeModel: the model's own request in, its own answer out."""
    answer = _invoked(asked, stream=False)
    return _whole(answer, asked)


@signed.door("POST", f"{BELOW}/{{model}}/invoke-with-response-stream", name="bedrock_stream", **INVOKES, **STREAMS)
@keyed.door(
    "POST", f"{OF_TENANT}/{{model}}/invoke-with-response-stream", name="bedrock_stream_with_key", **INVOKES, **STREAMS
)
def invoke_with_response_stream(asked: Incoming) -> Reply:
    """InvokeModelWithResponseStream: the model's own chunks, each in a frame of AWS's event stream."""
    answer = _invoked(asked, stream=True)
    return _framed(answer, asked, _chunks, {"X-Amzn-Bedrock-Content-Type": "application/json"})


@signed.door("POST", f"{BELOW}/{{model}}/converse", name="bedrock_converse", **CONVERSES, **WHOLE)
@keyed.door("POST", f"{OF_TENANT}/{{model}}/converse", name="bedrock_converse_with_key", **CONVERSES, **WHOLE)
def converse(asked: Incoming) -> Reply:
    """Converse: one request and one answer for all models, as Bedrock has them."""
    answer = _conversed(asked, stream=False)
    return _whole(answer, asked)


@signed.door("POST", f"{BELOW}/{{model}}/converse-stream", name="bedrock_converse_stream", **CONVERSES, **STREAMS)
@keyed.door(
    "POST", f"{OF_TENANT}/{{model}}/converse-stream", name="bedrock_converse_stream_with_key", **CONVERSES, **STREAMS
)
def converse_stream(asked: Incoming) -> Reply:
    """ConverseStream: the answer's events, each in a frame of AWS's event stream."""
    from chalicelib.dialects.converse import verbatim  # not for those who only chat

    answer = _conversed(asked, stream=True)
    return _framed(answer, asked, verbatim.events)


def _invoked(asked: Incoming, *, stream: bool) -> Answer:
    for name, same in OPERATORS.items():
        if asked.headers.get(name, same).lower() != same:
            raise Malformed(f"`{name}` is for the operator of the service to say. Leave it out.", field=name)
    from chalicelib.dialects import invoke as invocation  # not for those who only chat

    if asked.media_type != SEALED_TYPE:  # as some SDKs call a body of which they are not told the type
        asked.must_be_json()
    model, body = _model(asked), asked.document
    invocation.must_be_the_callers(body)
    return _running(asked, "invoke", model, body, ceilings.of_body(body, model), stream=stream)


def _conversed(asked: Incoming, *, stream: bool) -> Answer:
    from chalicelib.dialects.converse import verbatim  # not for those who only chat

    asked.must_be_json()
    body = asked.document
    verbatim.must_be_the_callers(body)
    return _running(asked, "converse", _model(asked), body, ceilings.of_converse(body), stream=stream)


def _running(
    asked: Incoming, operation: Operation, model: str, body: bytes, max_tokens: int | None, *, stream: bool
) -> Answer:
    ask = ask_of(
        asked,
        "bedrock",
        operation,
        tenant=asked.parameters.get("tenant"),
        pool=asked.headers.get("x-model-pool", ""),
        fields={"body": msgspec.Raw(body)},
        max_tokens=max_tokens,
        stream=stream,
        model_id=model,
    )
    return run(ask, wiring.path())


def _model(asked: Incoming) -> str:
    model = asked.parameters["model"]
    if len(model) > 2_048:
        raise Malformed("`modelId` is longer than any.", field="modelId")
    return model


def _whole(answer: Answer, asked: Incoming) -> Reply:
    reply = buffered(answer, asked, lambda whole: whole)
    usage = answer.usage
    reply.headers |= {
        "X-Amzn-RequestId": asked.request_id,
        "X-Amzn-Bedrock-Input-Token-Count": str(usage.prompt_tokens - usage.cached_tokens),
        "X-Amzn-Bedrock-Cache-Read-Input-Token-Count": str(usage.cached_tokens),
        "X-Amzn-Bedrock-Output-Token-Count": str(usage.completion_tokens),
    }
    return reply


def _framed(answer: Answer, asked: Incoming, events: Events, headers: Mapping[str, str] = {}) -> Reply:
    """The answer as an event stream of AWS's, as it comes."""
    told = {
        "Content-Type": FRAMED_TYPE,
        "Cache-Control": "no-store",
        "X-Amzn-RequestId": asked.request_id,
        **headers,
        **inference_headers(answer, asked),
    }

    ids = asked.ids  # alone: what is kept for the last event keeps no body meanwhile

    def refusal(error: Exception) -> bytes:
        kind = IN_STREAM.get(problems.exception_of(error), "internalServerException")  # as SDKs raise it
        return eventstream.exception(kind, msgspec.json.encode(problems.body_of(error, "bedrock", ids.request_id)))

    return Reply(Outflow(answer, _frames(answer, events), refusal, ids), told)


def _frames(answer: Answer, events: Events) -> Iterator[Piece]:
    for event in answer:
        if isinstance(event, Pause):
            yield event
        elif isinstance(event, Delta | Finished) and event.data:
            for kind, payload in events(event.data):
                yield eventstream.event(kind, payload)


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    """A piece of a model's own, as InvokeModelWithResponseStream tells it."""
    if data:
        yield "chunk", b'{"bytes":"%s"}' % base64.b64encode(data)
