"""How the tests themselves are run: what is shared stays in one worker, and `make check` starts nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers import Groups, groups

ROOT = Path(__file__).parents[2]
STARTERS = """
import os, subprocess
from pathlib import Path
import pytest

def mark(name):
    subprocess.run(["touch", name])

@pytest.fixture(scope="module")
def shared():
    mark("started")

def test_that_starts_none(tmp_path):
    assert tmp_path.exists()

def test_that_starts_one():
    mark("started")

def test_that_forks():
    if not os.fork():
        Path("started").touch()
        os._exit(0)

def test_whose_fixture_starts_one(shared):
    pass

def test_another_of_these(shared):
    pass
"""


def test_what_is_joined_by_way_of_others_is_one_group() -> None:
    joined = Groups()
    for names in (["a", "b"], ["c"], ["d", "e"], ["e", "b"]):
        joined.join(names)
    assert len({joined.of(name) for name in "abde"}) == 1
    assert joined.of("c") == "c" != joined.of("a")


@pytest.mark.parametrize("shared", ["running_system", "spare_system", "stores", "two_gateways"])
def test_everybody_who_asks_for_a_shared_thing_is_in_one_group(request: pytest.FixtureRequest, shared: str) -> None:
    items = request.session.items
    asking = [name for name, item in zip(groups(items), items, strict=True) if shared in fixtures(item)]
    assert len(set(asking)) <= 1


def fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def test_a_test_is_left_out_before_its_process_is_started(tmp_path: Path) -> None:
    (tmp_path / "test_starters.py").write_text(STARTERS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.without_processes", "--without-processes", "-q", "."]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "1 passed, 4 skipped" in ran.stdout, ran.stdout + ran.stderr
    assert not (tmp_path / "started").exists()
