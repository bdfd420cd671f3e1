"""The service as a browser shows it: `/` says what this is and leads on, `/docs` draws the OpenAPI document.

Nothing of the pages comes from another host: what draws the document lies in `http/browser`, packed as it is sent. It
is read when somebody asks for it.
"""

import re
from functools import cache
from pathlib import Path

import msgspec

from chalicelib import wiring
from chalicelib.http import SUMMARY
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface, drawn

surface = Surface(__name__, "native", title="The service", prefix="/", shape="problem", auth="none")

FOLDER = Path(__file__).parents[1] / "http" / "browser"
REDOC = "redoc-2.5.4.js.gz"

# Two styles that Redoc adds before it is told the nonce: an empty one, and that of its scroll bars.
STYLES = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; "
    f"style-src 'nonce-{{nonce}}' {STYLES}; "
    "connect-src 'self'; img-src data:; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page may do: run and look as it was sent, by a nonce that no text in it can guess, and ask this host. Redoc
looks words up in a worker that it makes of its own text."""


class FrontPage(msgspec.Struct, frozen=True):
    """What this is, and where to read on: paths on this host."""

    name: str
    summary: str
    docs: str
    openapi: str
    health: str


@surface.door(
    "GET", "/", permission="public",
    summary="What this is, and where to read on", returns=FrontPage, other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def front_page(asked: Incoming) -> Reply:
    mount = asked.mount("/")
    if _accepts(asked.headers.get("accept", ""), "text/html"):
        reply = _page("front.html", mount)
    else:
        reply = drawn(FrontPage("Cloister", SUMMARY, f"{mount}/docs", f"{mount}/openapi.json", f"{mount}/health"), 200)
    reply.headers["Vary"] = "Accept"
    return reply


@surface.door(
    "GET", "/docs", permission="public",
    summary="This API, for people", other_forms={"text/html": "A page that draws the OpenAPI document"},
)  # fmt: skip
def docs(asked: Incoming) -> Reply:
    return _page("docs.html", asked.mount("/docs"))


@surface.door(
    "GET", "/docs/redoc.js", permission="public",
    summary="What draws that page", other_forms={"text/javascript": "Redoc"},
)  # fmt: skip
def docs_script(asked: Incoming) -> Reply:
    headers = {
        "Content-Type": "text/javascript; charset=utf-8",
        "Cache-Control": "public, max-age=86400",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    packed = (FOLDER / REDOC).read_bytes()
    if _accepts(asked.headers.get("accept-encoding", ""), "gzip"):
        return Reply(packed, {**headers, "Content-Encoding": "gzip"})
    import gzip  # hardly ever: browsers take it packed

    return Reply(gzip.decompress(packed), headers)


def _page(name: str, mount: str) -> Reply:
    import html  # not for those who call

    nonce = wiring.path().randomness(16).hex()
    page = _template(name)
    for hole, value in {"nonce": nonce, "mount": mount, "summary": SUMMARY}.items():
        page = page.replace(f"{{{hole}}}", html.escape(value))
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",  # a nonce is for one answer
        "Content-Security-Policy": POLICY.replace("{nonce}", nonce),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(page.encode(), headers)


def _accepts(said: str, name: str) -> bool:
    """Whether an Accept or Accept-Encoding names this, and not with a weight of nothing."""
    for each in said.lower().split(","):
        what, *details = (part.strip() for part in each.split(";"))
        if what == name:
            return not any(re.fullmatch(r"q=0(\.0*)?", detail) for detail in details)
    return False


@cache
def _template(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
