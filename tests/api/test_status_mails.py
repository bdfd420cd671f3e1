"""Subscribing at the doors: opening a link changes nothing, its button does, and nobody learns who subscribes."""

from collections.abc import Iterator
from urllib.parse import urlencode

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.status.subscribers import Subscribers, digest
from tests.small_deployments import Answer, Deployment, Gateway

BROWSER = {"Accept": "text/html"}
FORM = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
PLACE = "/status/subscriptions"
SECRET = "5" * 48


@pytest.fixture
def mailing(deployment: Deployment) -> Iterator[Subscribers]:
    """Of a deployment that has a sender."""
    rooms = wiring.rooms()
    sending = msgspec.structs.replace(rooms.path.settings, mail_sender="us@x.example")
    path = msgspec.structs.replace(rooms.path, settings=sending)
    with wiring.opening_into(msgspec.structs.replace(rooms, path=path)):
        yield Subscribers(deployment.store.documents)


def sent(gateway: Gateway, place: str, **fields: str) -> Answer:
    """A form, as the page's."""
    return gateway.call("POST", place, headers=FORM, body=urlencode(fields).encode())


def test_the_page_has_a_form_where_somebody_mails(gateway: Gateway, mailing: Subscribers) -> None:
    page = gateway.call("GET", "/status", headers=BROWSER)
    assert f'<form method="post" action="{PLACE}">' in page.body.decode()
    assert "form-action 'self'" in page.headers["content-security-policy"]


def test_where_nobody_mails_there_is_no_form_and_no_subscription(gateway: Gateway, deployment: Deployment) -> None:
    assert b"<form" not in gateway.call("GET", "/status", headers=BROWSER).body
    assert gateway.call("POST", PLACE, json={"email": "ada@acme.example"}).status == 404


def test_one_answer_to_whoever_subscribes_in_both_forms(gateway: Gateway, mailing: Subscribers) -> None:
    first, again = (gateway.call("POST", PLACE, json={"email": "ada@acme.example"}) for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body)
    page = sent(gateway, PLACE, email="bob@bolt.example")
    assert (first.status, page.status) == (202, 202)
    assert b"bob@bolt.example" not in page.body
    assert {each.address for each, _ in mailing.all()} == {"ada@acme.example", "bob@bolt.example"}


@pytest.mark.parametrize("body", [b"", b"email=", b"email=a@b.cd&email=e@f.gh", b"email=no", b"\xff"])
def test_what_is_no_address_is_refused(gateway: Gateway, mailing: Subscribers, body: bytes) -> None:
    assert gateway.call("POST", PLACE, headers=FORM, body=body).status == 400
    assert mailing.all() == []


def test_a_link_that_is_opened_changes_nothing_and_its_button_does(gateway: Gateway, mailing: Subscribers) -> None:
    gateway.call("POST", PLACE, json={"email": "ada@acme.example"})
    ((subscriber, version),) = mailing.all()
    mailing.put(msgspec.structs.replace(subscriber, confirm=digest(SECRET)), version)
    confirm, leave = (f"{PLACE}/{kind}.{subscriber.id}." for kind in ("confirm", "leave"))
    confirm, leave = confirm + SECRET, leave + subscriber.leave
    for link in (confirm, leave):
        page = gateway.call("GET", link, headers=BROWSER)
        assert page.status == 200
        assert b'<form method="post"><button>' in page.body
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
    assert mailing.all()[0][0].confirmed_ms is None
    assert b"You will hear of incidents." in sent(gateway, confirm).body
    assert mailing.all()[0][0].confirmed_ms is not None
    one_click = gateway.call(
        "POST", leave, headers={"Content-Type": FORM["Content-Type"]}, body=b"List-Unsubscribe=One-Click"
    )
    assert one_click.status == 200
    assert mailing.all() == []
    assert sent(gateway, leave).status == 404
