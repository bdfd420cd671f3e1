"""A container in this process, with a scripted engine, for each test that asks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.engines.scripted import Gate
from serving.queue import Limits
from serving.settings import Settings
from tests.images.enclaves import Backstage, backstage, running
from tests.images.houses import House

Open = Callable[..., House]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running container with one scripted model named `one`, for tests that leave it as it is."""
    model = tmp_path_factory.mktemp("models") / "one"
    model.touch()
    each = House(Settings(models=(("one", model),), instance="i-test", engine="scripted"), gate=None)
    each.start()
    yield each
    each.stop()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backstage]:
    """What sealed calls need besides the container, with an enclave that runs."""
    with backstage(tmp_path_factory.mktemp("stage") / "files") as each, running(each.enclave()):
        yield each


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Open]:
    """`house(gate=…, capacity=…)`: a running container with one scripted model named `one`."""
    houses: list[House] = []
    model = tmp_path / "one"
    model.touch()

    def open_(gate: Gate | None = None, **changes: Any) -> House:
        limits = Limits(**{name: changes.pop(name) for name in Limits.__struct_fields__ if name in changes})
        settings = Settings(
            **{"limits": limits, "models": (("one", model),), "instance": "i-test", "engine": "scripted", **changes}
        )
        each = House(settings, gate)
        houses.append(each)
        each.start()
        return each

    yield open_
    for each in houses:
        each.stop()
