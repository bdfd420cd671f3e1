"""What was opened once is known as long as it could come back, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.refusal import NotOpened, Unavailable
from enclave.replays import FOR_EVER, ReplayMemory

KEYS = st.binary(max_size=3)


@given(st.lists(KEYS))
def test_each_key_is_new_exactly_once(keys: list[bytes]) -> None:
    memory = ReplayMemory()
    new = set()
    for key in keys:
        try:
            memory.remember(key, until_ms=FOR_EVER, now_ms=0)
        except NotOpened:
            assert key in new
        else:
            assert key not in new
            new.add(key)


@given(st.lists(st.tuples(KEYS, st.integers(1, 5)), max_size=30), st.integers(1, 6))
def test_room_is_for_what_is_not_over(remembered: list[tuple[bytes, int]], now_ms: int) -> None:
    memory = ReplayMemory(most=len(set(remembered)))
    for key, until_ms in set(remembered):
        memory.remember(key, until_ms=until_ms, now_ms=0)
    with pytest.raises(Unavailable):
        memory.remember(b"one more", until_ms=9, now_ms=0)
    for _ in range(sum(until_ms <= now_ms for _, until_ms in set(remembered))):
        memory.remember(now_ms.to_bytes() + _.to_bytes(), until_ms=9, now_ms=now_ms)
    with pytest.raises(Unavailable):
        memory.remember(b"one more", until_ms=9, now_ms=now_ms)
