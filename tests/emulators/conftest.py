"""A local cloud with a container behind each kind of endpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulators.sagemaker_runtime.endpoints import Components, Endpoints, MultiModel, SingleModel
from tests.emulators.clouds import Cloud, cloud
from tests.emulators.standin import StandIn, container


class Sky:
    """A cloud and the containers behind it."""

    def __init__(self, aws: Cloud, alone: StandIn, part: StandIn, many: StandIn) -> None:
        self.aws = aws
        self.alone = alone  # behind the endpoint `alone`
        self.part = part  # behind `parts`, as the inference component `part`
        self.many = many  # behind `many`, with the target models a, b and c, two of which fit


@contextmanager
def _open(folder: Path) -> Iterator[Sky]:
    with container() as alone, container() as part, container(room=2) as many:
        known: Endpoints = {
            "alone": SingleModel(alone.url),
            "parts": Components({"part": part.url, "dead": "http://127.0.0.1:9", "asleep": None}),
            "many": MultiModel(many.url, {name: f"/models/{name}" for name in "abc"}),
        }
        with cloud(known, folder) as aws:
            yield Sky(aws, alone, part, many)


@pytest.fixture(scope="session")
def _shared_sky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sky]:
    with _open(tmp_path_factory.mktemp("sky")) as sky:
        yield sky


@pytest.fixture
def sky(_shared_sky: Sky) -> Sky:
    """Shared: its containers have seen nothing yet, but the cloud may hold what other tests made."""
    for each in (_shared_sky.alone, _shared_sky.part, _shared_sky.many):
        each.forget()
    return _shared_sky


@pytest.fixture
def empty_sky(tmp_path: Path) -> Iterator[Sky]:
    """This test's alone: its cloud has loaded no model."""
    with _open(tmp_path) as sky:
        yield sky
