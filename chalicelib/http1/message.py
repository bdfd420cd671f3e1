"""What is sent: a request's head, in one piece."""

from collections.abc import Mapping


def head(method: str, path: str, host: str, headers: Mapping[str, str], length: int) -> bytes:
    """`path` as it goes over the wire, with its query; `length`: of the body, in bytes.

    Raises ValueError where something in it would end a line, or is not ASCII: it would be another request.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    text = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {length}\r\n\r\n"
    ends = len(headers) + 4
    if text.count("\n") != ends or text.count("\r") != ends or "\0" in text or text.count(" ", 0, text.find("\r")) != 2:
        raise ValueError("A request's head holds what would end its line.")
    return text.encode("ascii")
