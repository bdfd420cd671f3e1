"""Hearing of incidents by mail: asked for on the status page, confirmed and left by links that a mail brings.

A link that is opened changes nothing: programs open every link of a mail before its reader does. The page behind it has
a button, and mail programs that unsubscribe by one click (RFC 8058) send what the button does.
"""

from html import escape
from urllib.parse import parse_qs

import msgspec

from chalicelib import wiring
from chalicelib.api.status import boards_here, page_headers
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface, drawn
from chalicelib.refusal import Malformed, NotFound
from chalicelib.status.page import framed
from chalicelib.status.subscribers import Subscribers

surface = Surface(__name__, "native", title="Status", prefix="/status/subscriptions", auth="none")

FORM = "application/x-www-form-urlencoded"
ASKED = "If this address does not hear of incidents yet, a mail asks whether it wants to, within minutes."
NOBODY = "Nobody is mailed here: the operator of the service has set no CLOISTER_MAIL_SENDER."


class Subscription(msgspec.Struct, frozen=True):
    """Who wants to hear of incidents: as JSON, or as the form of the page."""

    email: str


class Said(msgspec.Struct, frozen=True):
    """What was done, for people."""

    message: str


class Click(msgspec.Struct, frozen=True):
    """Nothing is needed; mail programs send a form with `List-Unsubscribe`."""


@surface.door(
    "POST", "/status/subscriptions", permission="public", for_narrowed="within",
    summary="Ask to hear of incidents by mail", accepts=Subscription, returns=Said, status=202,
    other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def subscribe(asked: Incoming) -> Reply:
    """One answer, whether the address hears already or not. It is mailed nothing else until it is confirmed."""
    if asked.media_type == FORM:
        found = parse_qs(asked.body.decode(errors="replace")[:2_000]).get("email", [])
        if len(found) != 1:
            raise Malformed("Send one `email`.", field="email")
        address = found[0]
    else:
        address = asked.json(Subscription).email
    _subscribers().ask(address.strip(), asked.source_ip, wiring.path().clock(), wiring.path().randomness)
    return _said(asked, ASKED, 202)


@surface.door(
    "GET", "/status/subscriptions/{link}", permission="public",
    summary="What a link of a mail is for", returns=Said, other_forms={"text/html": "A page with a button"},
)  # fmt: skip
def show_subscription(asked: Incoming) -> Reply:
    kind, _, _ = _subscribers().named(asked.parameters["link"])
    text = "Hear of incidents by mail?" if kind == "confirm" else "Hear no more of incidents?"
    button = f'<form method="post"><button>{"Yes" if kind == "confirm" else "Unsubscribe"}</button></form>\n'
    return _said(asked, text, 200, button)


@surface.door(
    "POST", "/status/subscriptions/{link}", permission="public", for_narrowed="within",
    summary="Confirm, or leave, by a link of a mail", accepts=Click, returns=Said,
    other_forms={"text/html": "The same, for people"},
)  # fmt: skip
def follow_subscription(asked: Incoming) -> Reply:
    """Which of both, the link says. Whoever leaves is forgotten."""
    if asked.media_type != FORM:
        asked.json(Click)
    confirmed = _subscribers().follow(asked.parameters["link"], wiring.path().clock())
    return _said(asked, "You will hear of incidents." if confirmed else "You will hear no more of us.", 200)


def _said(asked: Incoming, text: str, status: int, button: str = "") -> Reply:
    if asked.accepts("text/html"):
        body = f"<h1>Status</h1>\n<p>{escape(text)}</p>\n{button}"
        reply = Reply(framed("Subscription", body).encode(), page_headers(), status)
    else:
        reply = drawn(Said(text), status)
    reply.headers |= {"Vary": "Accept", "Cache-Control": "no-store"}
    return reply


def _subscribers() -> Subscribers:
    """Raises NotFound."""
    boards = boards_here()
    if not wiring.path().settings.mail_sender:
        raise NotFound(NOBODY)
    return boards.subscribers
