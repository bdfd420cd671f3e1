"""A store is asked as much at once as it answers in time, which is found out, and no more."""

import threading

import pytest

from chalicelib.store_window import FIRST, LEAST, MOST, Window

DEADLINE_S = 1.0


class Hands:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def asked(window: Window, clock: Hands, count: int, took_s: float) -> None:
    """So many at once, of which each takes so long."""
    begun = [window.enter() for _ in range(count)]
    clock.now_s += took_s
    for began_s in begun:
        assert began_s is not None
        window.leave(began_s)


def test_a_quick_store_is_asked_ever_more() -> None:
    clock = Hands()
    window = Window(DEADLINE_S, clock)
    for _ in range(10):
        asked(window, clock, window.most, 0.01)
    assert window.most == MOST


def test_who_asks_little_learns_nothing() -> None:
    clock = Hands()
    window = Window(DEADLINE_S, clock)
    for _ in range(1_000):
        asked(window, clock, 1, 0.01)
    assert window.most == FIRST


@pytest.mark.parametrize(("took_s", "left"), [(0.3, int(FIRST * 0.7)), (DEADLINE_S, FIRST // 2)])
def test_a_slow_answer_counts_once_for_all_that_were_under_way(took_s: float, left: int) -> None:
    clock = Hands()
    window = Window(DEADLINE_S, clock)
    asked(window, clock, FIRST, took_s)
    assert window.most == left


def test_something_is_always_asked() -> None:
    clock = Hands()
    window = Window(DEADLINE_S, clock)
    for _ in range(20):
        asked(window, clock, 1, DEADLINE_S)
    assert window.most == LEAST


def test_a_store_that_answers_so_much_in_a_second_is_never_asked_what_it_would_answer_late() -> None:
    """Beyond the first looks, that is: 40 a second are 10 within a quarter of the deadline."""
    clock = Hands()
    window = Window(DEADLINE_S, clock)
    seen = []
    for _ in range(200):
        took_s = window.most / 40
        seen.append(took_s)
        asked(window, clock, window.most, took_s)
    assert max(seen) < DEADLINE_S
    assert 6 <= window.most <= 14


def test_who_waits_has_their_turn_as_soon_as_one_has_ended() -> None:
    window = Window(60.0, Hands())
    begun = [window.enter() for _ in range(FIRST)]
    came = threading.Event()

    def wait() -> None:
        assert window.enter() is not None
        came.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not came.is_set()
    assert begun[0] is not None
    window.leave(begun[0])
    waiting.join()
    assert came.is_set()


def test_who_waits_in_vain_has_asked_nothing() -> None:
    window = Window(0.01, Hands())
    for _ in range(FIRST):
        assert window.enter() is not None
    assert window.enter() is None
