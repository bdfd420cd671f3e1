"""How the service stands and stood, for everybody: `/status`, a page for browsers and JSON for programs.

It is read from what a schedule has kept: whoever asks here asks no target and wakes none.
"""

from chalicelib import wiring
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface, drawn
from chalicelib.refusal import NotFound
from chalicelib.status.board import Board, Boards

surface = Surface(__name__, "native", title="Status", prefix="/status", auth="none")

NOWHERE = "Nobody keeps here how the service stood."
FRESH_S = 10


@surface.door(
    "GET", "/status", permission="public",
    summary="How the service stands, and stood for 90 days", returns=Board,
    other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def show_status(asked: Incoming) -> Reply:
    """A minute of which there is no sample is `unknown`, never up."""
    board = boards_here().latest()
    if asked.accepts("text/html"):
        from chalicelib.status import page  # not for programs

        mount = asked.mount("/status")
        subscribe = f"{mount}/status/subscriptions" if wiring.path().settings.mail_sender else ""
        reply = Reply(page.page(board, json=f"{mount}/status.json", subscribe=subscribe).encode(), page_headers())
    else:
        reply = drawn(board, 200)
    reply.headers["Vary"] = "Accept"
    return _kept_for_a_while(reply)


@surface.door("GET", "/status.json", permission="public", summary="The same, as JSON to everybody", returns=Board)
def show_status_as_json(_: Incoming) -> Reply:
    return _kept_for_a_while(drawn(boards_here().latest(), 200))


def page_headers() -> dict[str, str]:
    from chalicelib.status import page

    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": page.policy(),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _kept_for_a_while(reply: Reply) -> Reply:
    """By caches on the way, which see the same as everybody."""
    reply.headers["Cache-Control"] = f"public, max-age={FRESH_S}"
    return reply


def boards_here() -> Boards:
    """Raises NotFound."""
    found = wiring.boards()
    if found is None:
        raise NotFound(NOWHERE)
    return found
