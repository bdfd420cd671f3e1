"""Mails of incidents: to who has confirmed, once each, whatever dies meanwhile; and no more to who has left."""

import asyncio
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
import uvicorn

from chalicelib.refusal import Conflict, Malformed, NotFound, RateLimited
from chalicelib.signature import Credentials
from chalicelib.status.aws import AwsService
from chalicelib.status.incidents import Incident, NewIncident, NewUpdate
from chalicelib.status.mailing import HELD_MS, REACH_MS, SETTLED_MS, Mailer, Paused, Round
from chalicelib.status.subscribers import HOUR_MS, MOST_OF_A_SOURCE, PENDING_MS, Subscribers
from emulators.ses.asgi import LocalSes
from emulators.ses.mail import Mail
from emulators.sockets import listen, url
from tests.patience import PATIENCE_S
from tests.prompt_server import PromptServer
from tests.small_deployments import Chance
from tests.status.worlds import World
from tests.stores import REGION

KEY = Credentials("AKIAEXAMPLEEXAMPLE00", "example")
BASE = "https://api.example.com"
ADA, BOB = "ada@acme.example", "bob@bolt.example"


class Post:
    """SES, and the page's mails by it."""

    def __init__(self) -> None:
        self.world = World()
        self.faults: dict[str, tuple[int, str]] = {}
        self.ses = LocalSes(fault=lambda mail: self.faults.get(mail.to[0]))
        self.subscribers = Subscribers(self.world.documents)
        self.chance = Chance()
        self.mailer = Mailer(
            AwsService("sesv2", "ses", REGION, lambda: KEY, "http://127.0.0.1:9"), "us@x.example", BASE
        )

    def serve(self, where: str) -> None:
        self.mailer = Mailer(AwsService("sesv2", "ses", REGION, lambda: KEY, where), "us@x.example", BASE)

    def round(self, settled_ms: int = SETTLED_MS) -> int:
        self.world.now_ms += settled_ms
        clock = lambda: self.world.now_ms  # noqa: E731
        return Round(self.world.documents, self.mailer, self.chance, clock).run(self.world.boards.incidents.all())

    def incident(self, text: str = "We look.") -> Incident:
        mark = self.chance(6).hex()
        return self.world.boards.incidents.open(NewIncident("It is slow", text), (), mark, self.world.now_ms)

    def ask(self, address: str, source: str = "192.0.2.1") -> None:
        self.subscribers.ask(address, source, self.world.now_ms, self.chance)

    def link(self, mail: Mail, kind: str) -> str:
        return next(
            word.removeprefix(f"{BASE}/status/subscriptions/")
            for word in mail.text.split()
            if word.startswith(f"{BASE}/status/subscriptions/{kind}.")
        )

    def subscribe(self, *addresses: str) -> None:
        for address in addresses:
            self.ask(address)
        self.round()
        for mail in self.ses.outbox[-len(addresses) :]:
            assert self.subscribers.follow(self.link(mail, "confirm"), self.world.now_ms)
        self.ses.outbox.clear()

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(mail.to[0], mail.subject) for mail in self.ses.outbox]


@pytest.fixture
def post() -> Iterator[Post]:
    post = Post()
    server = PromptServer(uvicorn.Config(post.ses, lifespan="off", ws="none", log_level="error", access_log=False))
    with listen(0) as listening:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        assert server.up.wait(PATIENCE_S), "the server did not start"
        post.serve(url(listening))
        yield post
        server.stop()
        thread.join(PATIENCE_S)


def test_who_has_not_confirmed_is_asked_once_and_hears_nothing(post: Post) -> None:
    for _ in range(3):
        post.ask(ADA)
        post.round()
    post.incident()
    post.round()
    assert post.told == [(ADA, "Do you want to hear of incidents?")]
    post.round(PENDING_MS)
    assert post.subscribers.all() == []


def test_each_update_comes_once_to_each_with_a_way_out(post: Post) -> None:
    post.subscribe(ADA, BOB)
    made = post.incident("We look.\n.\r")
    assert post.round(SETTLED_MS) == 2
    assert post.round() == 0
    post.world.boards.incidents.add(made.id, NewUpdate("resolved", "Well."), (), post.world.now_ms)
    assert post.round() == 2
    assert sorted(post.told) == sorted(
        (who, f"{step}: It is slow") for who in (ADA, BOB) for step in ("Investigating", "Resolved")
    )
    mail = post.ses.outbox[0]
    link = f"{BASE}/status/subscriptions/{post.link(mail, 'leave')}"
    assert mail.headers == {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    assert mail.text.startswith("It is slow\n\nInvestigating, 2026-11-18 11:06 UTC:\n\nWe look.")


def test_who_leaves_is_forgotten_and_hears_no_more(post: Post) -> None:
    post.subscribe(ADA, BOB)
    post.incident()
    post.round()
    mine = next(mail for mail in post.ses.outbox if mail.to == (ADA,))
    leave = post.link(mine, "leave")
    assert post.subscribers.follow(leave, post.world.now_ms) is False
    post.ses.outbox.clear()
    post.incident()
    post.round()
    assert [who for who, _ in post.told] == [BOB]
    assert ADA not in str([each for each, _ in post.subscribers.all()])
    with pytest.raises(NotFound):
        post.subscribers.follow(leave, post.world.now_ms)


def test_who_confirms_later_hears_of_what_comes_then(post: Post) -> None:
    post.incident()
    post.subscribe(ADA)
    assert post.round() == 0
    post.incident()
    assert post.round() == 1


def test_where_ses_takes_no_more_the_next_round_goes_on_and_nobody_hears_twice(post: Post) -> None:
    post.subscribe(ADA, BOB)
    post.incident()
    post.incident()
    last = post.subscribers.all()[-1][0].address
    post.faults[last] = (HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequestsException")
    with pytest.raises(Paused, match="429"):
        post.round()
    post.faults.clear()
    post.round()
    assert len(post.told) == 4
    assert sorted(who for who, _ in post.told) == sorted((ADA, ADA, BOB, BOB))


def test_an_address_that_ses_refuses_keeps_nobody_else_from_hearing(post: Post) -> None:
    post.subscribe(ADA, BOB)
    post.faults[ADA] = (HTTPStatus.BAD_REQUEST, "MessageRejected")
    post.incident()
    assert post.round() == 1
    assert post.round() == 0
    assert post.told == [(BOB, "Investigating: It is slow")]


def test_a_round_that_died_is_followed_after_a_while_and_one_that_runs_is_let_alone(post: Post) -> None:
    post.subscribe(ADA)
    post.incident()

    class Died(Exception):
        pass

    mailer = post.mailer

    class Dying(Mailer):
        def tell(self, *told: object) -> bool:
            post.mailer = mailer
            assert post.round(0) == 0  # another process, meanwhile
            mailer.tell(*told)  # type: ignore[arg-type]
            raise Died

    post.mailer = Dying(None, "", "")  # type: ignore[arg-type]
    with pytest.raises(Died):
        post.round()
    post.mailer = mailer
    post.round(HELD_MS)
    # It was not marked: the one that was on its way comes again, and only that.
    assert post.told == [(ADA, "Investigating: It is slow")] * 2
    assert post.round() == 0


def test_what_could_not_be_mailed_for_a_day_is_not_mailed(post: Post) -> None:
    post.subscribe(ADA)
    post.incident()
    assert post.round(REACH_MS) == 0


def test_who_subscribes_many_is_told_to_wait(post: Post) -> None:
    for number in range(MOST_OF_A_SOURCE):
        post.ask(f"a{number}@x.example")
    with pytest.raises(RateLimited) as refused:
        post.ask("another@x.example")
    assert 0 < (refused.value.retry_in_ms or 0) <= HOUR_MS
    post.ask("another@x.example", "192.0.2.2")
    post.world.now_ms += HOUR_MS
    post.ask("more@x.example")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "a@b",
        "a@b.c\nBcc: x@y.z",
        "a b@c.de",
        "<a@b.cd>",
        "a@b.cd,e@f.gh",
        "a@b.cd\n",
        f"{'a' * 65}@b.cd",
        "ä@b.cd",
    ],
)
def test_what_is_no_single_address_is_refused(post: Post, address: str) -> None:
    with pytest.raises(Malformed):
        post.ask(address)


@pytest.mark.parametrize(
    "token", ["", "leave", "leave..", "confirm.x.y", f"leave.{'0' * 32}.", f"confirm.{'0' * 32}.aa"]
)
def test_a_link_of_nobodys_says_nothing(post: Post, token: str) -> None:
    with pytest.raises(NotFound):
        post.subscribers.follow(token, post.world.now_ms)


def test_a_link_confirms_only_what_it_is_for(post: Post) -> None:
    post.ask(ADA)
    post.round()
    link = post.link(post.ses.outbox[0], "confirm")
    with pytest.raises(NotFound):
        post.subscribers.follow(link.replace("confirm", "leave"), post.world.now_ms)
    with pytest.raises(NotFound):
        post.subscribers.follow(link[:-1], post.world.now_ms)
    (subscriber, version), *_ = post.subscribers.all()
    assert subscriber.confirm not in link  # what is kept is a digest
    assert post.subscribers.follow(link, post.world.now_ms)
    assert post.subscribers.follow(link, post.world.now_ms)
    with pytest.raises(Conflict):
        post.subscribers.delete(subscriber, version)
