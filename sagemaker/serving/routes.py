"""The doors of the container: SageMaker's contract, its multi-model contract, and OpenAI's routes."""

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving import journal
from serving.container import Container
from serving.envelope import Preview
from serving.invocation import TARGET_MODEL, Chooser, Invocation, attributes_of, read_body
from serving.models import Model, Models
from serving.refusal import EnclaveUnavailable, Malformed, NoSuchRoute, Refusal, UnknownModel
from serving.request import ENCLAVE, PROBE
from serving.sealing.envelope import NO_ENCLAVE


class LoadRequest(msgspec.Struct, frozen=True):
    model_name: str
    url: str


def build(container: Container) -> Starlette:
    doors = Doors(container)
    return Starlette(
        routes=[
            Route("/ping", doors.ping, methods=["GET"]),
            Route("/invocations", doors.invocations, methods=["POST"]),
            Route("/models", doors.load, methods=["POST"]),
            Route("/models", doors.list, methods=["GET"]),
            Route("/models/{name}", doors.describe, methods=["GET"]),
            Route("/models/{name}", doors.unload, methods=["DELETE"]),
            Route("/models/{name}/invoke", doors.invoke, methods=["POST"]),
            Route("/health", doors.ping, methods=["GET"]),
            Route("/v1/enclave", doors.question, methods=["POST"]),
            Route("/v1/models", doors.openai_models, methods=["GET"]),
            Route("/v1/chat/completions", OpenAIDoor(container, "chat.completions"), methods=["POST"]),
            Route("/v1/completions", OpenAIDoor(container, "completions"), methods=["POST"]),
            Route("/v1/embeddings", OpenAIDoor(container, "embeddings"), methods=["POST"]),
        ],
        exception_handlers={Refusal: _answer_refusal, HTTPException: _answer_no_route, Exception: _answer_bug},
    )


class Doors:
    """The endpoints, each a few lines: what is asked is in `invocation`, what is loaded in `models`."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._models = container.models

    async def ping(self, _request: Request) -> Response:
        health = self._container.health()
        return _json(200 if health.status == "ok" else 503, health)

    async def invocations(self, request: Request) -> Response | Invocation:
        target = request.headers.get(TARGET_MODEL)
        return await self._invocation(request, (lambda _: self._models.get(target)) if target else self._any)

    async def invoke(self, request: Request) -> Response | Invocation:
        name = request.path_params["name"]
        self._models.get(name)  # SageMaker asks for the 404 before it sends the body anywhere else
        return await self._invocation(request, lambda _: self._models.get(name))

    async def question(self, request: Request) -> Response:
        """Put a question of the gateway to the enclave. Raises: EnclaveUnavailable, NotOpened, TooLarge."""
        body = await read_body(request.scope, request.receive, self._container.settings.body_timeout_s)
        if self._container.enclave is None:
            raise EnclaveUnavailable(NO_ENCLAVE)
        return Response(await self._container.enclave.ask(body), media_type="application/json")

    async def load(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, self._container.settings.body_timeout_s)
        try:
            wanted = msgspec.json.decode(body, type=LoadRequest)
        except (msgspec.DecodeError, RecursionError):
            raise Malformed('a model is loaded by {"model_name": "…", "url": "…"}') from None
        await self._models.load(wanted.model_name, wanted.url)
        return _json(200, _description(self._models.get(wanted.model_name)))

    async def list(self, _request: Request) -> Response:
        return _json(200, {"models": [_description(model) for model in self._models.all()]})

    async def describe(self, request: Request) -> Response:
        return _json(200, _description(self._models.get(request.path_params["name"])))

    async def unload(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._models.unload(name)
        return _json(200, {"modelName": name})

    async def openai_models(self, _request: Request) -> Response:
        models = [
            {"id": model.name, "object": "model", "created": 0, "owned_by": "cloister"} for model in self._models.all()
        ]
        return _json(200, {"object": "list", "data": models})

    async def _invocation(self, request: Request, choose: Chooser) -> Response | Invocation:
        attributes = attributes_of(request, None)
        if attributes.op == PROBE:
            return await self.ping(request)
        if attributes.op == ENCLAVE:
            return await self.question(request)
        return Invocation(self._container, attributes, choose)

    def _any(self, preview: Preview) -> Model:
        return _any(self._models, preview)


class OpenAIDoor:
    """One of OpenAI's paths, where the body's `model` must be a loaded one, as their servers want it."""

    def __init__(self, container: Container, op: str) -> None:
        self._container = container
        self._op = op

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        attributes = attributes_of(Request(scope), self._op)
        await Invocation(self._container, attributes, self._named)(scope, receive, send)

    def _named(self, preview: Preview) -> Model:
        models = self._container.models
        if preview.mode or preview.model is None:
            return _any(models, preview)  # who seals a request knows the pool, not what its model is called here
        return models.get(preview.model)


def _any(models: Models, preview: Preview) -> Model:
    """An endpoint with one model is that model, whatever the caller calls it; among several the name decides."""
    model = models.only()
    if model is None:
        if preview.model is None:
            raise UnknownModel("several models or none are loaded here; name one")
        model = models.get(preview.model)
    return model


def _description(model: Model) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": model.url}


def _json(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    journal.event("refused", status=error.status, code=error.code)
    return Response(error.body, error.status, error.headers, "application/json")


async def _answer_no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _answer_refusal(request, NoSuchRoute("there is no such route", error.status_code))


async def _answer_bug(_request: Request, error: Exception) -> Response:
    journal.event("bug", error=type(error).__name__, at=journal.location(error))
    return await _answer_refusal(_request, Refusal("something went wrong inside the container"))
