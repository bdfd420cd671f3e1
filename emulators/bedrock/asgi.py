"""The local Bedrock as an application: who calls, what for, which fault hits it, and the reply."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import UUID

import msgspec

from emulators import event_stream
from emulators.asgi import Receive, Scope, Send, until_left
from emulators.bedrock.callers import Caller, identify
from emulators.bedrock.control import Call, Control, Cut, Fail, Fault, Seen, Stall
from emulators.bedrock.conversation import ModelBroke
from emulators.bedrock.exchange import Reply, Request, Streamed, Whole
from emulators.bedrock.management import Management
from emulators.bedrock.refusal import BedrockError
from emulators.bedrock.runtime import BODY_BYTES, Runtime
from emulators.iam.signature import SignedRequest

CONTROL = "/_control"
LARGEST_BYTES = BODY_BYTES + 10_000_000
"""Of any operation. InvokeModel says by itself what is too much for it."""

_MODEL = r"/model/([^/]+)"
_PROFILES = "/inference-profiles"
_OPERATIONS = {
    ("POST", rf"{_MODEL}/invoke"): "InvokeModel",
    ("POST", rf"{_MODEL}/invoke-with-response-stream"): "InvokeModelWithResponseStream",
    ("POST", rf"{_MODEL}/converse"): "Converse",
    ("POST", rf"{_MODEL}/converse-stream"): "ConverseStream",
    ("POST", rf"{_MODEL}/count-tokens"): "CountTokens",
    ("POST", r"/guardrail/([^/]+)/version/([^/]+)/apply"): "ApplyGuardrail",
    ("GET", "/foundation-models"): "ListFoundationModels",
    ("GET", "/foundation-models/([^/]+)"): "GetFoundationModel",
    ("GET", _PROFILES): "ListInferenceProfiles",
    ("POST", _PROFILES): "CreateInferenceProfile",
    ("GET", rf"{_PROFILES}/([^/]+)"): "GetInferenceProfile",
    ("DELETE", rf"{_PROFILES}/([^/]+)"): "DeleteInferenceProfile",
}
_INVOCATIONS = {"InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream"}


class LocalBedrock:
    """An ASGI application. `region` is the one that callers with an API key call."""

    def __init__(
        self,
        control: Control,
        runtime: Runtime,
        management: Management,
        *,
        region: str,
        clock: Callable[[], int],
        new_id: Callable[[], UUID],
    ) -> None:
        self._control = control
        self._runtime = runtime
        self._region = region
        self._clock = clock
        self._new_id = new_id
        self._asynchronous: Mapping[str, Callable[[Request], Awaitable[Reply]]] = {
            "InvokeModel": runtime.invoke,
            "InvokeModelWithResponseStream": runtime.invoke_stream,
            "Converse": runtime.converse,
            "ConverseStream": runtime.converse_stream,
            "CountTokens": runtime.count_tokens,
            "ApplyGuardrail": runtime.apply_guardrail,
        }
        self._management: Mapping[str, Callable[[Request], Whole]] = {
            "ListFoundationModels": management.list_models,
            "GetFoundationModel": management.get_model,
            "ListInferenceProfiles": management.list_profiles,
            "CreateInferenceProfile": management.create_profile,
            "GetInferenceProfile": management.get_profile,
            "DeleteInferenceProfile": management.delete_profile,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answering = asyncio.create_task(self._answer(scope, await _read(receive), send))
        left = asyncio.create_task(until_left(receive))
        try:
            await asyncio.wait({answering, left}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            left.cancel()
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({answering})

    async def _answer(self, scope: Scope, body: bytes, send: Send) -> None:
        if scope["path"] == CONTROL:
            return await self._obey(scope["method"], body, send)
        outgoing = _Outgoing(send, str(self._new_id()))
        signed = SignedRequest(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body)
        seen, caller = Seen("", ""), Caller("", "")
        try:
            operation, parameters = _operation(signed)
            seen = Seen(operation, "")
            if len(body) > LARGEST_BYTES:
                raise BedrockError(
                    "RequestEntityTooLargeException", f"HTTP content length exceeded {LARGEST_BYTES} bytes."
                )
            caller = identify(signed, self._control.keys, self._region, self._clock())
            request = Request(operation, caller.region, parameters, _query(signed), _headers(signed), body)
            seen = self._seen(request)
            await self._reply(request, seen, outgoing)
        except BedrockError as refused:
            await outgoing.refuse(refused)
        except ModelBroke:
            await outgoing.refuse(BedrockError("ModelErrorException"))
        finally:
            told = (outgoing.request_id, seen.operation, caller.region, caller.key, seen.called_by)
            self._control.calls.append(Call(*told, len(body), outgoing.status))
        return None

    async def _obey(self, method: str, body: bytes, send: Send) -> None:
        outgoing = _Outgoing(send, str(self._new_id()))
        try:
            if method == "POST":
                self._control.obey(body)
            await outgoing.whole(Whole({"calls": msgspec.to_builtins(list(self._control.calls))}))
        except BedrockError as refused:
            await outgoing.refuse(refused)

    def _seen(self, request: Request) -> Seen:
        if request.operation == "ApplyGuardrail":
            return Seen(request.operation, request.region, "", request.parameters[0])
        if request.operation not in _INVOCATIONS:
            return Seen(request.operation, request.region)
        called_by = request.parameters[0]
        return Seen(request.operation, request.region, self._runtime.called(request).model.id, called_by)

    async def _reply(self, request: Request, seen: Seen, outgoing: "_Outgoing") -> None:
        fault = self._control.fault(seen, in_stream=False)
        if isinstance(fault, Fail):
            raise _refusal(fault)
        if isinstance(fault, Stall):
            await self._control.stalled(fault)
        if request.operation in self._management:
            reply: Reply = self._management[request.operation](request)
        else:
            reply = await self._asynchronous[request.operation](request)
        if isinstance(fault, Cut):
            return await outgoing.half(reply)
        if isinstance(reply, Whole):
            return await outgoing.whole(reply)
        return await self._stream(reply, self._control.fault(seen, in_stream=True), outgoing)

    async def _stream(self, reply: Streamed, fault: Fault | None, outgoing: "_Outgoing") -> None:
        await outgoing.begin(reply)
        try:
            async for index, frame in _counted(reply.frames):
                if fault and index == fault.after_events:
                    if isinstance(fault, Fail):
                        return await outgoing.end(_exception(_refusal(fault)))
                    if isinstance(fault, Cut):
                        return await outgoing.cut(frame)
                    await self._control.stalled(fault)
                await outgoing.piece(frame)
        except ModelBroke:
            return await outgoing.end(_exception(BedrockError("ModelStreamErrorException")))
        return await outgoing.end(b"")


class _Outgoing:
    """What goes to the caller. `status` is what was sent; 0 before."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def whole(self, reply: Whole) -> None:
        await self._whole(reply.status, dict(reply.headers), reply.body)

    async def refuse(self, refused: BedrockError) -> None:
        headers = {"x-amzn-errortype": f"{refused.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
        if refused.retry_after_s is not None:
            headers["retry-after"] = str(refused.retry_after_s)
        await self._whole(refused.status, headers, {"message": refused.text})

    async def begin(self, reply: Streamed) -> None:
        await self._start(200, {"content-type": event_stream.CONTENT_TYPE, **reply.headers})

    async def piece(self, frame: bytes) -> None:
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})

    async def end(self, frame: bytes) -> None:
        await self._send({"type": "http.response.body", "body": frame})

    async def half(self, reply: Reply) -> None:
        """A reply whose connection is lost in the middle of it; of a stream, before its first event."""
        if isinstance(reply, Streamed):
            await self.begin(reply)
            return
        body = msgspec.json.encode(reply.body)
        await self._start(200, {"content-type": "application/json", "content-length": str(len(body))})
        await self.piece(body[: len(body) // 2])

    async def cut(self, frame: bytes) -> None:
        """Half an event. An application that returns without having ended its body has its connection closed."""
        await self.piece(frame[: len(frame) // 2])

    async def _whole(self, status: int, headers: dict[str, str], members: dict[str, Any]) -> None:
        body = msgspec.json.encode(members)
        await self._start(status, {"content-type": "application/json", "content-length": str(len(body)), **headers})
        await self.end(body)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        named = {"x-amzn-requestid": self.request_id, **headers}
        encoded = [(name.encode(), value.encode()) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


async def _read(receive: Receive) -> bytes:
    """The body, or of one that is far too large its beginning."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if len(body) <= LARGEST_BYTES:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _counted(frames: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    index = 0
    async for frame in frames:
        yield index, frame
        index += 1


def _operation(signed: SignedRequest) -> tuple[str, tuple[str, ...]]:
    path = signed.path.decode("latin-1")
    for (method, pattern), operation in _OPERATIONS.items():
        found = re.fullmatch(pattern, path)
        if found and method == signed.method:
            return operation, tuple(unquote(each) for each in found.groups())
    raise BedrockError(
        "UnknownOperationException", "There is no such operation here. docs/local-bedrock.md has them all."
    )


def _query(signed: SignedRequest) -> dict[str, str]:
    return dict(parse_qsl(signed.query.decode("latin-1")))


def _headers(signed: SignedRequest) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in signed.headers}


def _refusal(fault: Fail) -> BedrockError:
    return BedrockError(fault.error, fault.message, retry_after_s=fault.retry_after_s)


def _exception(refused: BedrockError) -> bytes:
    return event_stream.exception(refused.code[0].lower() + refused.code[1:], {"message": refused.text})
