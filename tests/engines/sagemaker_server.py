"""The SageMaker engine, with a runtime API whose every byte a test decides."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.engines.sagemaker import SageMakerEngine
from chalicelib.engines.transport.aws_calls import AwsCalls, by_signature
from chalicelib.http1.server import Patience
from chalicelib.pool import SageMaker
from chalicelib.settings import Settings
from chalicelib.signature import Credentials
from tests.engines.openai_server import PATIENT
from tests.engines.servers import Handler, Server, chunk, head, serving, whole

KEY = Credentials("AKIAEXAMPLEEXAMPLE00", "example")
COMPONENT = SageMaker("gpu-1", endpoint="shared", component="model-a-component", capacity=3)
MULTI_MODEL = SageMaker("gpu-2", endpoint="many", target_model="model-a.tar.gz")
ATTRIBUTES = "x_amzn_sagemaker_custom_attributes"
FRAMED_HEAD = head(
    content_type="application/vnd.amazon.eventstream",
    x_amzn_sagemaker_content_type="text/event-stream; charset=utf-8",
    transfer_encoding="chunked",
    **{ATTRIBUTES: "instance=i-9"},
)

AT_ZERO = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress "
    "(if configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)


def framed(*pieces: bytes) -> bytes:
    return FRAMED_HEAD + b"".join(map(chunk, pieces))


def engine_at(root: str, settings: Settings = PATIENT) -> SageMakerEngine:
    def runtime(settings: Settings) -> AwsCalls:
        patience = Patience(settings.connect_deadline_ms / 1_000, settings.idle_deadline_ms / 1_000)
        return AwsCalls(root, patience, by_signature("sagemaker", settings.region, lambda: KEY, lambda: 0))

    return SageMakerEngine(settings, runtime)


@contextmanager
def engine_for(handler: Handler, settings: Settings = PATIENT) -> Iterator[tuple[SageMakerEngine, Server]]:
    with serving(handler) as server:
        yield engine_at(server.root, settings), server


def error(status: int, code: str, **members: object) -> bytes:
    """As the runtime itself refuses."""
    body = json.dumps({"Message": "Endpoint shared of account 123456789012 failed", **members}).encode()
    return whole(body, status, x_amzn_errortype=code)


def model_error(status: int, message: str = "") -> bytes:
    """As it quotes a container that refused."""
    return error(424, "ModelError", OriginalStatusCode=status, OriginalMessage=message)
