"""Which tests run in one worker, where several run side by side (`pytest -n auto`).

Tests that share something (the running system, a served store, a module's container) run in one worker, one after the
other, so that it is started once and is left to one test at a time. What is shared is read from the fixtures that a
test asks for: whatever lives longer than one test. Tests that share nothing stay together by their module.
"""

import gc
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

# What takes longest is begun first: otherwise one worker ends long after the others.
LONGEST = ("running_system", "tests/openapi/test_openapi.py:fuzzed_system", "tests:stores", "spare_system")
MOST_WORKERS = 6
_WRITTEN = pytest.StashKey[Path]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores where tests wait for processes to start, one for each where they only compute."""
    cores = len(os.sched_getaffinity(0))
    return min(cores + (not config.getoption("--without-processes")), MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Each worker is told where to write its groups: who hands out the tests has not collected them."""
    if _WRITTEN not in node.config.stash:
        folder = tempfile.TemporaryDirectory(prefix="cloister-groups-")
        node.config.add_cleanup(folder.cleanup)
        node.config.stash[_WRITTEN] = Path(folder.name) / "groups.json"
    node.workerinput["groups"] = str(node.config.stash[_WRITTEN])


@pytest.hookimpl(trylast=True)  # of what is left when others have chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = dict(zip(items, groups(items), strict=True))
    first = {name: place for place, name in enumerate(_first(items, names))}
    items.sort(key=lambda item: first.get(names[item], len(first)))
    if told := getattr(config, "workerinput", None):
        written = Path(told["groups"])
        mine = written.with_suffix(f".{told['workerid']}")
        mine.write_text(json.dumps({item.nodeid: names[item] for item in items}))
        mine.rename(written)  # all write the same


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    """What was collected stays until the end: without this each search for garbage walks through all of it.

    It is searched for less often than Python would, which costs a few megabytes, and a tenth of the time less.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def schedule(self) -> None:
            self.groups: dict[str, str] = json.loads(config.stash[_WRITTEN].read_text())
            super().schedule()

        def _split_scope(self, nodeid: str) -> str:
            return self.groups[nodeid]

    config.option.loadscopereorder = False  # ours is the order
    return ByGroup(config, log)


def groups(items: Sequence[pytest.Item]) -> list[str]:
    """For each test the name of its group."""
    joined = Groups()
    shared = [sorted(_shared(item)) or [_module(item)] for item in items]
    for names in shared:
        joined.join(names)
    return [joined.of(names[0]) for names in shared]


class Groups:
    """What was joined, directly or by way of others, is one group, and goes by one name."""

    def __init__(self) -> None:
        self._ends: dict[str, str] = {}

    def join(self, names: Sequence[str]) -> None:
        for name in names:
            self._ends[self.of(name)] = self.of(names[0])

    def of(self, name: str) -> str:
        """The name of its group."""
        while (end := self._ends.get(name, name)) != name:
            name = end
        return name


def _first(items: Sequence[pytest.Item], names: dict[pytest.Item, str]) -> list[str]:
    """The groups of LONGEST, in their order."""
    found = {name: names[item] for item in items for name in _shared(item) if name in LONGEST}
    return list(dict.fromkeys(found[name] for name in LONGEST if name in found))


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _shared(item: pytest.Item) -> Iterator[str]:
    """The fixtures of ours that the test asks for, itself or through others, and that live longer than it does."""
    info = getattr(item, "_fixtureinfo", None)  # pytest has no public way to a fixture's scope
    for name, definitions in info.name2fixturedefs.items() if info else ():
        fixture = definitions[-1]
        if fixture.scope != "function" and fixture.func.__module__.startswith("tests."):
            where = fixture.baseid if fixture.scope == "session" else _module(item)
            yield f"{where}:{name}" if where else name
