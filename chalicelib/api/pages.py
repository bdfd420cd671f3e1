"""The service as a browser shows it: `/` says what this is and leads on, `/docs` draws the OpenAPI document, and
`/problems` says what refusals mean. The first and the last are JSON to programs.

Nothing of the pages comes from another host: what draws the document lies in `http/browser`, packed as it is sent. It
is read when somebody asks for it.
"""

import re
from functools import cache
from pathlib import Path

import msgspec

from chalicelib import wiring
from chalicelib.http import SUMMARY, problems
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming, names
from chalicelib.http.surface import Surface, drawn
from chalicelib.refusal import NotFound

surface = Surface(__name__, "native", title="The service", prefix="/", auth="none")

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
    status: str
    problems: str


class ErrorName(msgspec.Struct, frozen=True):
    """What a problem is called where errors have another shape."""

    status: int
    name: str


class ProblemPage(msgspec.Struct, frozen=True):
    """What a problem's `type` means, and the `code`, `type` and exception by which the other shapes know it."""

    type: str
    title: str
    status: int
    meaning: str
    next_move: str
    openai: ErrorName
    anthropic: ErrorName
    aws: ErrorName


class ProblemPages(msgspec.Struct, frozen=True):
    """Every problem that there is."""

    problems: list[ProblemPage]


NEXT_MOVES = {
    "invalid-request": "Mend the request.",
    "invalid-api-key": "Bring a valid key.",
    "key-validation-failed": "Seal it anew under a registered key.",
    "content-refused": "Leave out what the tenant's rules forbid, or ask its owners for them.",
    "over-budget": "Raise the budget that the tenant set itself.",
    "permission-denied": "Ask an owner for the permission.",
    "not-found": "Name something that exists and is yours.",
    "method-not-allowed": "Use a method that `Allow` lists.",
    "request-timeout": "Send it again, without pauses.",
    "conflict": "Look at what is there, then repeat.",
    "too-large": "Send or ask for less.",
    "rate-limit-exceeded": "Wait `Retry-After` (exactly: `retry_in_ms`).",
    "insufficient-quota": "Wait for the window, or change plan.",
    "too-many-in-flight": "Wait for one of your own requests.",
    "engine-failed": "Try again.",
    "no-capacity": "Wait `Retry-After`: seconds where a model is full, two minutes where it was at zero and starts.",
    "engine-timed-out": "Try again, or ask for fewer tokens.",
    "internal-error": "Try again, or report the request id.",
}
"""What whoever is refused can do, by the problem's name."""

FAULT_MEANING = "Something broke on our side."


@surface.door(
    "GET", "/", permission="public",
    summary="What this is, and where to read on", returns=FrontPage, other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def front_page(asked: Incoming) -> Reply:
    mount = asked.mount("/")
    if asked.accepts("text/html"):
        reply = _page("front.html", mount)
    else:
        places = (f"{mount}/{place}" for place in ("docs", "openapi.json", "health", "status", "problems"))
        reply = drawn(FrontPage("Cloister", SUMMARY, *places), 200)
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
    if names(asked.headers.get("accept-encoding", ""), "gzip"):
        return Reply(packed, {**headers, "Content-Encoding": "gzip"})
    import gzip  # hardly ever: browsers take it packed

    return Reply(gzip.decompress(packed), headers)


@surface.door(
    "GET", "/problems", permission="public",
    summary="Every problem that there is", returns=ProblemPages, other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def list_problems(asked: Incoming) -> Reply:
    known = _known_problems()
    return _problems_page(asked, ProblemPages(known), known, asked.mount(problems.PAGES))


@surface.door(
    "GET", "/problems/{name}", permission="public",
    summary="What a problem means, and what to do", returns=ProblemPage,
    other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def explain(asked: Incoming) -> Reply:
    path = f"{problems.PAGES}/{asked.parameters['name']}"
    for page in _known_problems():
        if page.type == path:
            return _problems_page(asked, page, [page], asked.mount(path))
    raise NotFound(f"There is no such problem. GET {problems.PAGES} lists those there are.", field="name")


def _problems_page(asked: Incoming, told: ProblemPages | ProblemPage, shown: list[ProblemPage], mount: str) -> Reply:
    if asked.accepts("text/html"):
        reply = _page("problems.html", mount, "".join(_article(page, mount) for page in shown))
    else:
        reply = drawn(told, 200)
    reply.headers["Vary"] = "Accept"
    return reply


def _article(page: ProblemPage, mount: str) -> str:
    import html  # not for those who call

    def prose(text: str) -> str:
        return re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(text))

    names = {"OpenAI's routes": page.openai, "Anthropic's": page.anthropic, "AWS's SDKs": page.aws}
    elsewhere = "".join(
        f"<dt>{html.escape(where)}</dt><dd><code>{error.status} {error.name}</code></dd>"
        for where, error in names.items()
    )
    return (
        f'<article><h2><a href="{html.escape(mount + page.type)}">{html.escape(page.title)}</a> {page.status}</h2>'
        f"<p>{prose(page.meaning)}</p><p><strong>{prose(page.next_move)}</strong></p><dl>{elsewhere}</dl></article>\n"
    )


def _known_problems() -> list[ProblemPage]:
    known = [
        (kind, " ".join((refusal.__doc__ or "").split()), problems.EXCEPTIONS[refusal])
        for refusal, kind in problems.KINDS.items()
    ]
    return [
        ProblemPage(
            f"{problems.PAGES}/{kind.name}",
            kind.title,
            kind.status,
            meaning,
            NEXT_MOVES[kind.name],
            openai=ErrorName(problems.status_of_kind(kind, "openai"), kind.openai_code),
            anthropic=ErrorName(problems.status_of_kind(kind, "anthropic"), kind.anthropic_type),
            aws=ErrorName(problems.status_of_kind(kind, "bedrock"), exception),
        )
        for kind, meaning, exception in (*known, (problems.FAULT, FAULT_MEANING, problems.FAULT_EXCEPTION))
    ]


def _page(name: str, mount: str, articles: str = "") -> Reply:
    """`articles`: markup that says nothing of the caller's as it came."""
    import html  # not for those who call

    nonce = wiring.path().randomness(16).hex()
    page = _template(name).replace("{style}", _template("pages.css"))
    for hole, value in {"nonce": nonce, "mount": mount, "summary": SUMMARY}.items():
        page = page.replace(f"{{{hole}}}", html.escape(value))
    page = page.replace("{articles}", articles)
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",  # a nonce is for one answer
        "Content-Security-Policy": POLICY.replace("{nonce}", nonce),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(page.encode(), headers)


@cache
def _template(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
