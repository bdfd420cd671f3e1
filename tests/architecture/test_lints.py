"""Each lint can fail, and says where: small made-up sources, and a repository of this test's own."""

import subprocess
from pathlib import Path

import pytest

from tests.architecture import lints
from tests.architecture.lints import Source

ALLOWED = {"engines": {"tables"}, "tables": set[str]()}


def made(path: str, *lines: str) -> list[Source]:
    return [Source(path, "\n".join(lines) + "\n")]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("from chalicelib import tables, clock, engines", []),
        ("import chalicelib.tables.keys", []),
        ("from chalicelib import tables, api", ["chalicelib/engines/x.py:2: engines imports chalicelib.api"]),
        ("from chalicelib.api import doors", ["chalicelib/engines/x.py:2: engines imports chalicelib.api"]),
        ("import chalicelib.api.doors", ["chalicelib/engines/x.py:2: engines imports chalicelib.api.doors"]),
        ("from ..api import doors", ["chalicelib/engines/x.py:2: engines imports chalicelib.api"]),
        ("from .. import api", ["chalicelib/engines/x.py:2: engines imports chalicelib.api"]),
        ("def late():\n    from chalicelib import api", ["chalicelib/engines/x.py:3: engines imports chalicelib.api"]),
    ],
)
def test_an_arrow_that_points_back_is_found(line: str, wrong: list[str]) -> None:
    assert list(lints.arrows(made("chalicelib/engines/x.py", "import json", line), ALLOWED, {"clock"})) == wrong


def test_a_room_that_no_table_knows_may_import_leaves_only() -> None:
    new = made("chalicelib/new/x.py", "from chalicelib import clock, tables")
    assert list(lints.arrows(new, ALLOWED, {"clock"})) == ["chalicelib/new/x.py:1: new imports chalicelib.tables"]


def test_an_outsider_in_another_file_is_found() -> None:
    allowed = {"botocore": {"chalicelib/tables.py"}}
    lines = ("import json, botocore.session", "from botocore.config import Config")
    assert not list(lints.outsiders(made("chalicelib/tables.py", *lines), allowed))
    assert len(list(lints.outsiders(made("chalicelib/rooms/tables.py", *lines), allowed))) == 2
    assert list(lints.outsiders(made("chalicelib/utils.py", *lines), allowed)) == [
        "chalicelib/utils.py:1: imports botocore.session",
        "chalicelib/utils.py:2: imports botocore.config",
    ]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("from datetime import datetime; datetime.fromtimestamp(0)", []),
        ("import time", ["imports time"]),
        ("from os.path import join", ["imports os.path"]),
        ("from random import random", ["imports random", "imports random.random"]),
        ("from datetime import datetime; datetime.now()", ["uses datetime.now"]),
    ],
)
def test_a_rule_that_is_not_pure_is_found(line: str, wrong: list[str]) -> None:
    found = lints.impurities(made("rates.py", line), {"time", "os", "random", "datetime.now"})
    assert list(found) == [f"rates.py:1: {each}" for each in wrong]


@pytest.mark.parametrize("path", ["chalicelib/utils.py", "chalicelib/utils/x.py", "local/utils/y/x.py"])
def test_a_name_that_says_nothing_is_found(path: str) -> None:
    assert list(lints.names(made(path), {"utils"})) == [f"{path}:1: nothing is called utils"]
    assert not list(lints.names(made(path.replace("utils", "utilities")), {"utils"}))


def test_a_file_that_is_too_long_is_found() -> None:
    assert not list(lints.sizes([Source("x.py", "x\n" * 400)]))
    assert list(lints.sizes([Source("x.py", "x\n" * 401)])) == ["x.py:401: more than 400 lines"]


def test_what_shadows_the_sdk_is_found() -> None:
    shadows = [*made("sagemaker/__init__.py"), *made("sagemaker/serving/x.py"), *made("tests/sagemaker/x.py")]
    assert [each.partition(":")[0] for each in lints.shadows(shadows)] == [
        "sagemaker/__init__.py",
        "tests/sagemaker/x.py",
    ]


def test_a_program_that_imports_the_gateway_is_found() -> None:
    source = made("enclave/x.py", "from chalicelib import call", "import sealed")
    assert list(lints.entangled(source)) == [
        "enclave/x.py:1: imports chalicelib",
        "enclave/x.py:1: imports chalicelib.call",
    ]


@pytest.mark.parametrize("base", ["Protocol", "typing.Protocol", "Protocol[T]"])
def test_a_protocol_that_is_large_is_found(base: str) -> None:
    methods = [f"    {kind} m{number}(self): ..." for number, kind in enumerate(["def"] * 5 + ["async def"])]
    assert not list(lints.large_protocols(made("x.py", f"class Port({base}):", *methods[:5])))
    assert not list(lints.large_protocols(made("x.py", "class Plain(Base):", *methods)))
    found = lints.large_protocols(made("x.py", "", f"class Port({base}):", *methods))
    assert list(found) == ["x.py:2: Port has 6 methods; 5 are enough"]


def test_a_partition_that_is_written_down_is_found() -> None:
    lines = ("name: x", "arn: arn:" + "aws:iam::1:role/x")
    assert [each[:10] for each in lints.partitions(made("infra/x.yaml", *lines))] == ["infra/x.ya"]
    assert [each.split(":")[1] for each in lints.partitions(made("infra/x.yaml", *lines))] == ["2"]
    assert not list(lints.partitions(made("tests/x.py", *lines)))


@pytest.mark.parametrize("line", ["import unittest.mock", "from unittest import mock", "from mock import patch"])
def test_a_test_that_mocks_is_found(line: str) -> None:
    assert list(lints.mocks(made("tests/x.py", line)))
    assert not list(lints.mocks(made("tests/x.py", "import unittest")))


def test_what_is_written_is_what_git_tracks_or_would_track(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)

    git("init", "--quiet")
    (tmp_path / ".gitignore").write_text("build/\n")
    (tmp_path / "build").mkdir()
    for name in ("tracked.py", "gone.py", "build/ignored.py", "page.md", "picture.png"):
        (tmp_path / name).write_text("import json\n")
    git("add", ".")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "utils with a blank.py").write_text("import botocore\n")
    (tmp_path / "link.py").symlink_to("tracked.py")
    found = lints.written(tmp_path)
    assert [source.path for source in found] == ["page.md", "tracked.py", "utils with a blank.py"]
    assert [source.path for source in lints.python(found)] == ["tracked.py", "utils with a blank.py"]


def test_whoever_imports_more_of_ours_than_is_known_is_found() -> None:
    lines = ("import json, sealed.cms", "from enclave.security_module import ModuleFailed", "import enclave.security")
    found = lints.strangers(
        made("emulators/x.py", *lines), {"sealed", "enclave"}, ("sealed", "enclave.security_module")
    )
    assert list(found) == ["emulators/x.py:3: imports enclave.security"]


def test_a_map_that_forgets_a_file_or_names_one_that_is_gone_is_found() -> None:
    page = '''"""A room.

    here.py      what it is           gone         what it was
    sub/, other  two at once

Prose that says   much.
"""'''
    sources = [
        *made("room/__init__.py", page),
        *(each for name in ("here", "other", "new") for each in made(f"room/{name}.py", "")),
        *made("room/sub/__init__.py", '"""Below."""'),
    ]
    assert list(lints.unmapped(sources)) == [
        "room/__init__.py:1: does not say what new is",
        "room/__init__.py:1: says what gone is, which is not there",
    ]
