"""One model call, from its first header to its line in the journal."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from serving import journal
from serving.answer import Answer
from serving.container import Container
from serving.envelope import Envelope, Preview
from serving.line import now_ms
from serving.models import Model
from serving.refusal import ClientLeft, EngineTimedOut, Malformed, Refusal, Stopping, TimedOutReading, TooLarge
from serving.request import MAX_BODY_BYTES, Attributes, read_attributes, read_priority, read_tag

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
TARGET_MODEL = "x-amzn-sagemaker-target-model"
# Of a body that is too large this much more is read and thrown away, so that its sender lives to read our answer.
SWALLOW_BYTES = 4 * MAX_BODY_BYTES

Chooser = Callable[[Preview], Model]


class Invocation:
    """An ASGI response that does the work when called. `choose` says which model the call is for."""

    def __init__(self, container: Container, attributes: Attributes, choose: Chooser) -> None:
        self._container = container
        self._attributes = attributes
        self._choose = choose
        self._model = ""
        self._preview = Preview()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_ms = now_ms()
        envelope = self._container.envelope(Headers(scope=scope).get("content-type", ""))
        answer = Answer(send, self._container.settings.instance, envelope)
        refusal: Refusal | None = None
        try:
            await self._supervise(scope, receive, envelope, answer)
        except Refusal as error:
            refusal = error
            if not isinstance(error, ClientLeft):
                await answer.refuse(error)
        except Exception as error:
            # A mistake of ours. Where it happened may be told to the log, what was being said may not.
            refusal = Refusal("something went wrong inside the container")
            journal.event("bug", error=type(error).__name__, at=journal.location(error))
            await answer.refuse(refusal)
        finally:
            journal.write(
                journal.Entry(
                    op=self._attributes.op,
                    request=self._attributes.request,
                    instance=self._container.settings.instance,
                    model=self._model,
                    status=refusal.status if refusal else answer.status,
                    queue_ms=answer.queue_ms,
                    duration_ms=now_ms() - began_ms,
                    tokens=answer.tokens,
                    stream=self._preview.stream,
                    sealed=self._preview.mode,
                    code=refusal.code if refusal else "",
                )
            )

    async def _supervise(self, scope: Scope, receive: Receive, envelope: Envelope, answer: Answer) -> None:
        """Run, but not on when the client has left or the container must end. Raises: Refusal."""
        body = await read_body(scope, receive, self._container.settings.body_timeout_s)
        self._preview = envelope.read(body, self._attributes)
        del body
        work = asyncio.create_task(self._run(envelope, answer))
        leaving = asyncio.create_task(_wait_for_disconnect(receive))
        cut = self._container.cut
        try:
            await asyncio.wait({work, leaving, cut}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            # Also when we ourselves are cancelled: the slot must be free before this returns.
            leaving.cancel()
            if not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError, Refusal):
                    await work
        raise Stopping() if cut.done() else ClientLeft("the client closed the connection")

    async def _run(self, envelope: Envelope, answer: Answer) -> None:
        settings = self._container.settings
        attributes = self._attributes
        if self._preview.stream and attributes.op == "embeddings":
            raise Malformed("embeddings cannot be streamed")
        model = self._choose(self._preview)
        self._model = model.name
        with self._container.line.turn(attributes.tenant, attributes.priority) as turn:
            try:
                async for forecast in turn.waiting(settings.queue_timeout_s * 1000):
                    if self._preview.stream:
                        await answer.waiting(forecast)
            finally:
                answer.queue_ms = turn.queue_ms
            model = self._container.models.get(model.name)  # it may have been unloaded meanwhile
            try:
                async with asyncio.timeout(settings.request_timeout_s):
                    with model.use() as engine:
                        async with envelope.open(model.name) as call, engine.open(call) as reply:
                            del call  # the engine has it
                            await (answer.stream(reply) if self._preview.stream else answer.whole(reply))
            except TimeoutError:
                raise EngineTimedOut("the answer took too long and was cut") from None


def attributes_of(request: Request, op: str | None) -> Attributes:
    """From SageMaker's header, or on the OpenAI routes (where the path is `op`) from ours. Raises: Malformed."""
    headers = request.headers
    if op is None:
        return read_attributes(headers.get(ATTRIBUTES, ""))
    return Attributes(
        op=op,
        tenant=read_tag("tenant", headers.get("x-cloister-tenant", "")),
        priority=read_priority(headers.get("x-cloister-priority", "")),
        request=read_tag("request", headers.get("x-request-id", "")),
    )


async def read_body(scope: Scope, receive: Receive, timeout_s: float) -> bytes:
    """Raises: TooLarge, TimedOutReading, ClientLeft."""
    pieces: list[bytes] = []
    size = 0
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    too_large = TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
    if declared.isdigit() and int(declared[:12]) > SWALLOW_BYTES:
        raise too_large
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft("the client closed the connection")
                piece = message.get("body", b"")
                size += len(piece)
                if size <= MAX_BODY_BYTES:
                    pieces.append(piece)
                elif size > SWALLOW_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise TimedOutReading("the body did not arrive in time") from None
    if size > MAX_BODY_BYTES:
        raise too_large
    return b"".join(pieces)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
