"""`pytest --without-processes` leaves out each test as soon as it, or a fixture that it asks for, starts a process.

What is left runs in seconds, and is what `make check` runs. There is no list to keep: Python itself tells of every
process that is about to be started (PEP 578).
"""

import platform
import sys
from collections.abc import Iterator

import pytest

_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
_testing = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-processes", action="store_true", help="leave out tests that start a process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-processes"):
        platform.processor()  # starts `uname` once in a process: for the first test whose SDK says where it runs
        sys.addaudithook(_leave_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    global _testing
    _testing = True
    try:
        return (yield)
    finally:
        _testing = False


def _leave_out(event: str, _arguments: tuple[object, ...]) -> None:
    if _testing and event in _STARTS:
        pytest.skip("starts a process")
