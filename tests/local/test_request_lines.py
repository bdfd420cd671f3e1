"""A request as a line on the terminal."""

import os
from collections.abc import Iterator

import pytest

from chalicelib.sight import RequestFacts
from chalicelib.sight.lines import Lines
from local.request_lines import Screen, SettledCalls, request_line


def test_a_line_holds_what_one_looks_for() -> None:
    line = request_line("POST", "/tenants/demo/v1/chat/completions", "demo", 200, 57, 0.1318)
    assert line == "POST /tenants/demo/v1/chat/completions  demo  200  57 tokens  132 ms"


def test_who_leaves_before_the_answer_is_a_line_too() -> None:
    assert request_line("GET", "/health", "-", 0, None, 0.001) == "GET /health  -  left  1 ms"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/keys/ck_demo.abcdefgh_0123/x", "/keys/ck_.../x"),
        ("/\x1b[2J", "/?[2J"),
        ("/" + "a" * 500, "/" + "a" * 116 + "..."),
    ],
    ids=["a key", "what would move the cursor", "too long"],
)
def test_a_path_cannot_do_everything_to_the_terminal(path: str, shown: str) -> None:
    assert request_line("GET", path, "-", 403, None, 0.0) == f"GET {shown}  -  403  0 ms"


def test_settled_calls_are_remembered_once_and_not_for_ever() -> None:
    settled = SettledCalls(Lines())
    for number in range(1_001):
        settled.request(
            RequestFacts("Settled", "demo", f"r{number}", "POST /", 0, 0, lease=f"l{number}", tokens=number)
        )

    assert settled.taken("r0") is None
    assert settled.taken("r7") == ("demo", 7)
    assert settled.taken("r7") is None


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def test_a_screen_that_takes_nothing_holds_nobody_up(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    screen = Screen(writing)
    for _ in range(5_000):
        screen.show("x" * 100)


def test_lines_come_in_their_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    screen = Screen(writing)
    screen.show("one")
    screen.show("two")
    with os.fdopen(os.dup(reading)) as lines:
        assert [lines.readline(), lines.readline()] == ["one\n", "two\n"]
