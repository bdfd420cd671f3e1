"""Chance for ids, which is drawn ahead."""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from chalicelib.randomness import ID_BYTES, for_ids


def test_no_two_ids_are_alike_whoever_draws_them() -> None:
    draw = for_ids(secrets.token_bytes)
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(draw, [ID_BYTES] * 5_000))
    assert len(set(drawn)) == 5_000
    assert {len(each) for each in drawn} == {ID_BYTES}


def test_they_are_drawn_many_at_a_time_and_what_is_longer_by_itself() -> None:
    asked: list[int] = []

    def chance(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    draw = for_ids(chance)
    assert [len(draw(count)) for count in (8, 12, ID_BYTES, ID_BYTES + 1)] == [8, 12, ID_BYTES, ID_BYTES + 1]
    assert len(asked) == 2
    assert asked[-1] == ID_BYTES + 1


def test_a_forked_process_draws_its_own() -> None:
    draw = for_ids(secrets.token_bytes)
    draw(ID_BYTES)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, draw(ID_BYTES))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, ID_BYTES) != draw(ID_BYTES)
    os.close(reader)
    os.close(writer)
