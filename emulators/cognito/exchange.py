"""One request of a browser or a program to the pages and endpoints of OAuth, and what it is answered."""

from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

Header = tuple[str, str]
_NOT_KEPT: tuple[Header, ...] = (("cache-control", "no-store"), ("pragma", "no-cache"))


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("latin-1")))

    def cookie(self, name: str) -> str:
        """Empty where there is none."""
        try:
            held = SimpleCookie(self.headers.get("cookie", "")).get(name)
        except CookieError:
            return ""
        return held.value if held else ""


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: tuple[Header, ...] = ()
    body: bytes = b""


def json(body: Any, status: int = 200) -> Reply:
    """Nothing that is said of somebody is kept on its way."""
    return Reply(status, (("content-type", "application/json;charset=UTF-8"), *_NOT_KEPT), msgspec.json.encode(body))


def page(html: str, status: int, headers: Iterable[Header] = ()) -> Reply:
    return Reply(status, (("content-type", "text/html; charset=utf-8"), *_NOT_KEPT, *headers), html.encode())


def sent_to(url: str, query: Mapping[str, str] | None = None, headers: Iterable[Header] = ()) -> Reply:
    """To this address, with more in its query. By 303, so that a form is not sent along."""
    parts = urlsplit(url)
    whole = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *(query or {}).items()])
    return Reply(303, (("location", urlunsplit(parts._replace(query=whole))), *_NOT_KEPT, *headers))
