"""The SageMaker runtime of the local cloud: both invocations, forwarded to a container as SageMaker would.

A streamed answer passes through piece by piece, and a caller that leaves closes the connection to the
container. Errors have SageMaker's codes, shapes and, where they are known, its words.
"""

import asyncio
import json
import re
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import msgspec

from emulators import event_stream
from emulators.asgi import Receive, Scope, Send, until_left
from emulators.http_exchange import ExchangeFailed, Reply, exchange
from emulators.sagemaker_runtime.endpoints import Components, Endpoint, Endpoints, MultiModel, SingleModel
from emulators.sagemaker_runtime.multi_model import LoadFailed, ModelCache, UnknownModel

INVOCATION = re.compile(r"/endpoints/([^/]+)/(invocations|invocations-response-stream)")

# The service model of InvokeEndpoint: CustomAttributesHeader, and the quota on the body.
CUSTOM_ATTRIBUTES_CHARACTERS = 1024
BODY_BYTES = 6_291_456
UNARY_DEADLINE_S = 60.0
STREAM_DEADLINE_S = 480.0
MESSAGE_CHARACTERS = 2048

VARIANT = "AllTraffic"
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_COMPONENT = "x-amzn-sagemaker-inference-component"
_TARGET_MODEL = "x-amzn-sagemaker-target-model"


class InvocationError(Exception):
    """An answer that is an error, in the shape that botocore parses (rest-json)."""

    def __init__(self, status: int, code: str, message: str, **members: str | int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.members = {"Message": message[:MESSAGE_CHARACTERS], **members}


class Invocation(msgspec.Struct, frozen=True):
    """What the caller asks for."""

    endpoint: str
    headers: dict[str, str]  # by lower-case name
    body: bytes

    @property
    def for_container(self) -> dict[str, str]:
        """The headers that SageMaker hands on."""
        handed_on = {"content-type": self.headers.get("content-type", "application/octet-stream")}
        accept = self.headers.get("x-amzn-sagemaker-accept") or self.headers.get("accept")
        if accept:
            handed_on["accept"] = accept
        for name in (_ATTRIBUTES, _COMPONENT, _TARGET_MODEL):
            if name in self.headers:
                handed_on[name] = self.headers[name]
        return handed_on


class SageMakerRuntime:
    """An ASGI application for the paths that match INVOCATION."""

    def __init__(self, endpoints: Endpoints, region: str, account: str) -> None:
        self._endpoints = endpoints
        self._region = region
        self._account = account
        self._models = {name: ModelCache(found) for name, found in endpoints.items() if isinstance(found, MultiModel)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        matched = INVOCATION.fullmatch(scope["path"])
        assert matched, "routed here by INVOCATION"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if "authorization" not in headers:
                raise InvocationError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
            attributes = headers.get(_ATTRIBUTES, "")
            if len(attributes) > CUSTOM_ATTRIBUTES_CHARACTERS:
                raise _invalid(
                    "1 validation error detected: Value at 'customAttributes' failed to satisfy constraint: "
                    f"Member must have length less than or equal to {CUSTOM_ATTRIBUTES_CHARACTERS}"
                )
            body = await _read(receive)
            invocation = Invocation(endpoint=matched[1], headers=headers, body=body)
            answer = self._stream if matched[2] == "invocations-response-stream" else self._unary
            await _unless_left(receive, answer(invocation, send))
        except InvocationError as refused:
            await _refuse(send, refused)

    async def _unary(self, invocation: Invocation, send: Send) -> None:
        endpoint = self._endpoint(invocation.endpoint)
        try:
            async with asyncio.timeout(UNARY_DEADLINE_S):
                if isinstance(endpoint, MultiModel):
                    reply, body = await self._invoke_model(endpoint, invocation)
                else:
                    reply, body = await _invoke(self._container(endpoint, invocation), "/invocations", invocation)
        except TimeoutError:
            raise self._model_error(invocation, 0, "Your invocation timed out while waiting for a response") from None
        except ExchangeFailed as failed:
            raise self._model_error(invocation, 0, str(failed)) from failed
        if reply.status >= 400:
            raise self._model_error(invocation, reply.status, body.decode(errors="replace"))
        headers = [(b"content-type", reply.headers.get("content-type", "application/octet-stream").encode("latin-1"))]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers + _variant(reply)})
        await send({"type": "http.response.body", "body": body})

    async def _invoke_model(self, endpoint: MultiModel, invocation: Invocation) -> tuple[Reply, bytes]:
        target_model = invocation.headers.get(_TARGET_MODEL)
        if target_model is None:
            raise _invalid("Target model header is required to invoke a multi-model endpoint.")
        cache = self._models[invocation.endpoint]
        try:
            async with cache.hold(target_model) as path:
                reply, body = await _invoke(endpoint.url, path, invocation)
                if reply.status == 404:
                    await cache.reload(target_model)
                    reply, body = await _invoke(endpoint.url, path, invocation)
                return reply, body
        except UnknownModel:
            raise _invalid(
                f"Failed to download model data({target_model}). Please ensure that there is an object located at "
                "the URL and that the role passed to CreateModel has permissions to download the model."
            ) from None
        except LoadFailed as failed:
            raise self._model_error(invocation, failed.status, failed.body.decode(errors="replace")) from failed

    async def _stream(self, invocation: Invocation, send: Send) -> None:
        endpoint = self._endpoint(invocation.endpoint)
        if isinstance(endpoint, MultiModel):
            raise _invalid("InvokeEndpointWithResponseStream is not supported for multi-model endpoints.")
        url = self._container(endpoint, invocation)
        begun = False
        try:
            async with (
                asyncio.timeout(STREAM_DEADLINE_S),
                exchange(url, "POST", "/invocations", invocation.for_container, invocation.body) as reply,
            ):
                if reply.status >= 400:
                    raise self._model_error(invocation, reply.status, (await reply.read()).decode(errors="replace"))
                content_type = reply.headers.get("content-type", "application/octet-stream").encode("latin-1")
                headers = [(b"content-type", event_stream.CONTENT_TYPE.encode())]
                headers.append((b"x-amzn-sagemaker-content-type", content_type))
                await send({"type": "http.response.start", "status": 200, "headers": headers + _variant(reply)})
                begun = True
                async for piece in reply.pieces():
                    await _send_event(send, event_stream.payload_part(piece))
        except TimeoutError:
            if not begun:
                raise self._model_error(invocation, 0, "Your model timed out before its first byte") from None
            await _send_event(send, _stream_error("ModelInvocationTimeExceeded", "The model took too long."))
        except ExchangeFailed as failed:
            if not begun:
                raise self._model_error(invocation, 0, str(failed)) from failed
            await _send_event(send, _stream_error("StreamBroken", f"The model's stream broke: {failed}"))
        except InvocationError:
            raise
        except Exception:
            if not begun:
                raise
            members = {"Message": "An internal failure occurred. Try your request again."}
            await _send_event(send, event_stream.exception("InternalStreamFailure", members))
        await send({"type": "http.response.body", "body": b""})

    def _endpoint(self, name: str) -> Endpoint:
        if name not in self._endpoints:
            raise _invalid(f"Endpoint {name} of account {self._account} not found.")
        return self._endpoints[name]

    def _container(self, endpoint: SingleModel | Components, invocation: Invocation) -> str:
        """Which container an endpoint's invocation goes to; raises Refused where it does not suit the endpoint."""
        if _TARGET_MODEL in invocation.headers:
            raise _invalid(f"Endpoint {invocation.endpoint} is not a multi-model endpoint: it takes no target model.")
        if isinstance(endpoint, SingleModel):
            return endpoint.url
        component = invocation.headers.get(_COMPONENT)
        if component is None:
            raise _invalid(
                "Inference Component Name header is required for endpoints to which you plan to deploy inference "
                "components. Please include Inference Component Name header or consider using SageMaker models."
            )
        if component not in endpoint.urls:
            raise _invalid(f"Inference Component {component} of account {self._account} not found.")
        url = endpoint.urls[component]
        if url is None:
            raise _invalid(
                "Inference Component has no capacity to process this request. ApplicationAutoScaling may be "
                "in-progress (if configured) or try to increase the capacity by invoking "
                "UpdateInferenceComponentRuntimeConfig API."
            )
        return url

    def _model_error(self, invocation: Invocation, status: int, original: str) -> InvocationError:
        side = "client" if 400 <= status < 500 else "server"
        partition = "aws-us-gov" if self._region.startswith("us-gov-") else "aws"
        return InvocationError(
            424,
            "ModelError",
            f'Received {side} error ({status}) from primary with message "{original}".',
            OriginalStatusCode=status,
            OriginalMessage=original[:MESSAGE_CHARACTERS],
            LogStreamArn=f"arn:{partition}:logs:{self._region}:{self._account}:"
            f"log-group:/aws/sagemaker/Endpoints/{invocation.endpoint}",
        )


async def _invoke(url: str, path: str, invocation: Invocation) -> tuple[Reply, bytes]:
    async with exchange(url, "POST", path, invocation.for_container, invocation.body) as reply:
        return reply, await reply.read()


async def _read(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        piece = message.get("body", b"")
        size += len(piece)
        if size > BODY_BYTES:
            raise InvocationError(413, "413", f"HTTP content length exceeded {BODY_BYTES} bytes.")
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


async def _unless_left(receive: Receive, answering: Coroutine[Any, Any, None]) -> None:
    """Answer, but stop at once when the caller has left."""
    answer = asyncio.create_task(answering)
    left = asyncio.create_task(until_left(receive))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            with suppress(asyncio.CancelledError):
                await answer
            return
        answer.result()
    finally:
        answer.cancel()
        left.cancel()


async def _send_event(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": True})


async def _refuse(send: Send, refused: InvocationError) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", refused.code.encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(refused.members).encode()})


def _variant(reply: Reply) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-amzn-invoked-production-variant", VARIANT.encode())]
    if _ATTRIBUTES in reply.headers:
        headers.append((_ATTRIBUTES.encode(), reply.headers[_ATTRIBUTES].encode("latin-1")))
    return headers


def _invalid(message: str) -> InvocationError:
    return InvocationError(400, "ValidationError", message)


def _stream_error(code: str, message: str) -> bytes:
    return event_stream.exception("ModelStreamError", {"ErrorCode": code, "Message": message})
