"""Answers out of bytes, however they are cut; and what is none."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.http1.failure import BrokeOff, NotHttp
from chalicelib.http1.parsing import VAIN_BYTES, Parsing

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nHello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def fed(*pieces: bytes) -> Parsing:
    parsing = Parsing()
    for piece in pieces:
        parsing.feed(piece)
    return parsing


CHUNKS = st.lists(st.binary(min_size=1, max_size=30), max_size=6)
EDGES = st.lists(st.integers(0, 10_000), max_size=20)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b c"', b";a=b;c=d"])


@given(chunks=CHUNKS, extension=EXTENSIONS, trailers=st.sampled_from([b"", b"X-Sum: 1\r\n"]), edges=EDGES)
def test_chunks_are_one_body_however_they_are_cut(
    chunks: list[bytes], extension: bytes, trailers: bytes, edges: list[int]
) -> None:
    wire = b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in chunks)
    parsing = fed(*cut(CHUNKED + wire + b"0\r\n" + trailers + b"\r\n", edges))
    assert parsing.head is not None
    assert (parsing.head.status, parsing.head.headers) == (200, {"transfer-encoding": "chunked"})
    assert (parsing.take(), parsing.take(), parsing.ended, parsing.reusable) == (b"".join(chunks), b"", True, True)


@given(bodies=st.lists(st.binary(max_size=50), min_size=1, max_size=5), edges=EDGES)
def test_one_connection_gives_one_answer_after_the_other(bodies: list[bytes], edges: list[int]) -> None:
    parsing = Parsing()
    for body in bodies:
        parsing.expect()
        for piece in cut(OK + b"content-LENGTH: %d\r\nA: 1\r\na: 2\r\n\r\n%s" % (len(body), body), edges):
            parsing.feed(piece)
        assert parsing.head is not None
        assert parsing.head.headers == {"content-length": str(len(body)), "a": "1, 2"}
        assert (parsing.take(), parsing.ended, parsing.reusable) == (body, True, True)


@given(data=st.binary(max_size=200), edges=EDGES, edge=st.integers(0, 100))
def test_garbage_is_refused_or_unfinished_and_nothing_else(data: bytes, edges: list[int], edge: int) -> None:
    parsing = Parsing()
    try:
        for piece in cut(HELLO[:edge] + data, edges):
            parsing.feed(piece)
        parsing.feed_end()
    except (NotHttp, BrokeOff):
        return
    assert parsing.ended and not parsing.reusable


@pytest.mark.parametrize(
    ("wire", "symptom"),
    [
        (b"<html>", "no http"),
        (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "no http"),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "no http"),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "no http"),
        (OK + b"Content-Length: +5\r\n\r\n", "no http"),
        (OK + b"Content-Length : 5\r\n\r\n", "no http"),
        (OK + b"A: b\r\n c\r\n\r\n", "no http"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "no http"),
        (CHUNKED + b"-1\r\n", "no http"),
        (CHUNKED + b"fffffffffffffffff\r\n", "no http"),
        (CHUNKED + b"1\r\nab\r\n", "no http"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer coding"),
        (OK + b"Transfer-Encoding: identity\r\n\r\n", "transfer coding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "version"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "version"),
        (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nxyz", "upgrade"),
        (b"HTTP/1.1 101 Switching\r\n\r\nxyz", "upgrade"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(wire: bytes, symptom: str) -> None:
    with pytest.raises(NotHttp) as caught:
        fed(wire)
    assert caught.value.symptom == symptom


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_some_answers_have_no_body_whatever_they_say(status: int, length: bytes) -> None:
    parsing = fed(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, length))
    assert (parsing.ended, parsing.reusable, parsing.take()) == (True, True, b"")


def test_interim_answers_are_none() -> None:
    interim = b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n"
    parsing = fed(interim)
    assert (parsing.head, parsing.ended, parsing.untouched) == (None, False, False)
    parsing.feed(HELLO)
    assert parsing.head is not None and parsing.head.headers == {"content-length": "5"}
    assert (parsing.take(), parsing.reusable) == (b"Hello", True)


@pytest.mark.parametrize("surplus", [b"x", HELLO, b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("at_once", [True, False])
def test_behind_an_answer_nothing_may_come(surplus: bytes, at_once: bool) -> None:
    parsing = fed(HELLO + surplus) if at_once else fed(HELLO, surplus)
    assert (parsing.take(), parsing.ended, parsing.reusable) == (b"Hello", True, False)


@pytest.mark.parametrize(
    "head",
    [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_who_hangs_up_says_so(head: bytes) -> None:
    parsing = fed(head + b"Hello")
    assert (parsing.take(), parsing.ended, parsing.reusable) == (b"Hello", True, False)


def test_the_end_of_the_connection_ends_an_answer_that_has_no_other_end() -> None:
    parsing = fed(OK + b"\r\nHel", b"lo")
    assert (parsing.take(), parsing.ended) == (b"Hello", False)
    parsing.feed_end()
    assert (parsing.ended, parsing.reusable) == (True, False)


@pytest.mark.parametrize("wire", [b"", b"HTTP/1.1 2", OK, HELLO[:-1], CHUNKED, CHUNKED + b"5\r\nHello\r\n"])
def test_the_end_of_the_connection_is_no_end_of_any_other(wire: bytes) -> None:
    parsing = fed(wire)
    with pytest.raises(BrokeOff):
        parsing.feed_end()
    assert not parsing.reusable


def test_of_an_answer_that_is_not_whole_nothing_follows() -> None:
    assert not fed(HELLO[:-1]).reusable


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (OK, b"A: 1\r\n"),
        (OK + b"A: ", b"a" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"\r\n" * 50),
        (CHUNKED + b"5", b";a" * 50),
        (CHUNKED + b"5\r\nHello\r\n0\r\n", b"A: 1\r\n"),
    ],
)
def test_what_never_comes_to_the_point_is_refused(begin: bytes, more: bytes) -> None:
    parsing = fed(begin)
    with pytest.raises(NotHttp):
        for _ in range(VAIN_BYTES // len(more) + 1):
            parsing.feed(more)


def test_a_body_may_be_as_long_as_it_likes() -> None:
    parsing = fed(CHUNKED)
    for _ in range(VAIN_BYTES // 4):
        parsing.feed(b"1;x\r\na\r\n")
    assert len(parsing.take()) == VAIN_BYTES // 4
