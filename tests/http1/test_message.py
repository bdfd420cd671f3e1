"""What is sent, and where to."""

import pytest

from chalicelib.http1 import message
from chalicelib.http1.place import Place


def test_a_head_is_one_piece() -> None:
    assert message.head("POST", "/v1?a=b", "gpu-1", {"Accept": "a/b", "X": "1, 2"}, 3) == (
        b"POST /v1?a=b HTTP/1.1\r\nHost: gpu-1\r\nAccept: a/b\r\nX: 1, 2\r\nContent-Length: 3\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/a b", "A", "b"),
        ("/a\r\n", "A", "b"),
        ("/ä", "A", "b"),
        ("/", "A", "b\r\nC: d"),
        ("/", "A", "b\n"),
        ("/", "A", "b\r"),
        ("/", "A", "b\0"),
        ("/", "A", "ä"),
        ("/", "A: b\r\nC", "d"),
    ],
)
def test_what_would_be_another_request_is_not_sent(path: str, name: str, value: str) -> None:
    with pytest.raises(ValueError):
        message.head("POST", path, "gpu-1", {name: value}, 0)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://gpu-1", Place("gpu-1", 80, False, "gpu-1", "")),
        ("https://GPU-1/v1/", Place("gpu-1", 443, True, "gpu-1", "/v1")),
        ("https://gpu-1:443/a%20b c", Place("gpu-1", 443, True, "gpu-1", "/a%20b%20c")),
        ("http://127.0.0.1:8000/ä?b#c", Place("127.0.0.1", 8000, False, "127.0.0.1:8000", "/%C3%A4")),
        ("http://[::1]:8000", Place("::1", 8000, False, "[::1]:8000", "")),
        ("https://bücher.example", Place("xn--bcher-kva.example", 443, True, "xn--bcher-kva.example", "")),
    ],
)
def test_a_url_is_taken_apart(url: str, place: Place) -> None:
    assert Place.of(url) == place


@pytest.mark.parametrize(
    "url", ["", "gpu-1", "ftp://gpu-1", "http://", "http://me:secret@gpu-1", "http://gpu-1:99999", "http://[::1"]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Place.of(url)
