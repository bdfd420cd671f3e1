"""A local cloud as its own process, and a gateway in front of an app that tells who signed."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chalice.app import IAMAuthorizer

from chalicelib.http.bridge import Bridge
from chalicelib.http.doors import Doors, Reply
from emulators.iam.authoriser import Authoriser, LocalCloud
from local.authoriser import iam_for_bridge
from local.layout import GOVCLOUD_REGION
from tests.emulators.clouds import REGION, Cloud, cloud
from tests.emulators.iam.people import People
from tests.small_deployments import Gateway, served

BODY_LIMIT = 6_000_000


def _echo() -> Doors:
    """Each of its routes answers with the ARN that signed, then the body that came."""
    app = Doors("echo", configure_logs=False)
    app.api.binary_types = ["*/*"]

    def tell(**_path: str) -> Reply:
        event: Any = app.current_request.to_original_event()  # type: ignore[union-attr]
        arn = event["requestContext"]["identity"].get("userArn", "")
        return Reply(arn.encode() + b"\n" + event["body"], {"Content-Type": "text/plain"})

    def serve(path: str, *methods: str) -> None:
        # A function of its own for each: Chalice tells views apart by name.
        view: Callable[..., Reply] = lambda **names: tell(**names)  # noqa: E731
        app.route(path, methods=list(methods), name=path, content_types=[], authorizer=IAMAuthorizer())(view)

    serve("/v1/bedrock/invoke-model", "POST")
    serve("/v1/bedrock/models", "GET")
    serve("/v1/bedrock/models/{model}", "GET", "DELETE")
    serve("/v1/dashboard/requests", "GET")
    return app


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud({}, tmp_path_factory.mktemp("cloud")) as aws:
        yield aws


@pytest.fixture(scope="session")
def people(aws: Cloud) -> People:
    return People(aws.url)


@pytest.fixture(scope="session")
def gateway(aws: Cloud) -> Iterator[Gateway]:
    judge = LocalCloud(aws.url)
    authoriser = Authoriser(judge, frozenset({REGION, GOVCLOUD_REGION}), lambda: time.time_ns() // 1_000_000)
    with served(Bridge(_echo(), BODY_LIMIT, {}, iam_for_bridge(authoriser))) as gateway:
        yield gateway
