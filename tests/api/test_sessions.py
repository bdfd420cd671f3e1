"""What a session opens, for whose requests, and until when."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app import app
from chalicelib import wiring
from chalicelib.http.own_pages import COOKIE
from chalicelib.inference import look_at_running
from chalicelib.inference.answer import REVOKED
from chalicelib.tenancy import Change
from chalicelib.tenancy.sessions import Session
from chalicelib.tenancy.tenant import CustomRole, Scopes
from tests.api.begun import LIFETIME, begun
from tests.api.test_events import events
from tests.api.test_leaving import CHUNK, Client, Front, play
from tests.api.test_revoked_streams import AT_ONCE_S, BEGUN
from tests.small_deployments import Answer, Deployment, Gateway

OURS = "https://cloister.example"
OF_OURS = {"Origin": OURS, "X-Cloister-Page": "1"}
CHATS = "/tenants/acme/v1/chat/completions"
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}
IDLE_MS, LONGEST_MS = LIFETIME.idle_ms, LIFETIME.longest_ms


class Scene:
    """Ada, a developer of `acme`, who has signed in."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.session, self.text = self.begun("ada", "developer")

    def begun(self, name: str, role: Any) -> tuple[Session, str]:
        session, text = begun(self.deployment, "acme", role, name)
        return session, text.text

    def call(self, method: str, path: str, json: Any = None, *, text: str | None = None, **headers: str) -> Answer:
        """Where no headers are named, as a page of ours."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()} or OF_OURS
        cookies = {"Cookie": f"other=1; {COOKIE}acme={text or self.text}"}
        return self.gateway.call(method, path, json=json, headers={**sent, **cookies})

    def renew(self, text: str | None = None) -> tuple[int, str | None]:
        answer = self.call("POST", "/tenants/acme/session/renew", text=text)
        said = answer.headers.get("set-cookie", "")
        return answer.status, said.partition("=")[2].partition(";")[0] or None

    def after(self, ms: int) -> None:
        self.deployment.clock.now_ms += ms


@pytest.fixture
def scene(gateway: Gateway, deployment: Deployment) -> Any:
    deployment.public_url = OURS
    scene = Scene(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield scene


# whose requests


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example", "X_Cloister_Page": "1"},
        {"Origin": "https://cloister.example:8443", "X_Cloister_Page": "1"},
        {"Origin": "http://cloister.example", "X_Cloister_Page": "1"},
        {"Origin": "https://cloister.example.evil.example", "X_Cloister_Page": "1"},
        {"Origin": "null", "X_Cloister_Page": "1"},
        {"Origin": "", "X_Cloister_Page": "1"},
        {"Origin": OURS},  # a form, or a script's request that no browser asks about first
        {"Origin": OURS, "X_Cloister_Page": "0"},
        {"Sec_Fetch_Site": "cross-site", "X_Cloister_Page": "1"},
        {"Sec_Fetch_Site": "same-site", "X_Cloister_Page": "1"},
        {"Sec_Fetch_Site": "none", "X_Cloister_Page": "1"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin", "X_Cloister_Page": "1"},
        {"X_Cloister_Page": "1"},
        {"Content_Type": "text/plain", "Origin": "https://evil.example"},
    ],
)
def test_what_no_page_of_ours_sends_changes_and_costs_nothing(scene: Scene, headers: dict[str, str]) -> None:
    sent = headers or {"Accept": "*/*"}
    assert scene.call("POST", CHATS, CHAT, **sent).status == 403
    assert scene.call("DELETE", f"/tenants/acme/sessions/{scene.session.id}", **sent).status == 403
    assert scene.call("GET", "/tenants/acme/requests").json["entries"] == []
    assert scene.deployment.tenancy.sessions.sessions("acme")


@pytest.mark.parametrize("headers", [OF_OURS, {"Sec-Fetch-Site": "same-origin", "X-Cloister-Page": "1"}])
def test_what_a_page_of_ours_sends_does(scene: Scene, headers: dict[str, str]) -> None:
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    assert scene.call("POST", CHATS, CHAT, **named).status == 200
    native = {**named, "X_Tenant_ID": "acme", "X_Model_Pool": "model-a"}
    assert scene.call("POST", "/inference", {"prompt": "hi"}, **native).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "*/*"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),  # typed by somebody
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_reading_needs_no_header_but_no_other_page_reads(scene: Scene, headers: dict[str, str], status: int) -> None:
    assert scene.call("GET", "/tenants/acme/usage", **headers).status == status


def test_a_listed_page_of_another_origin_brings_keys_and_never_a_session(scene: Scene) -> None:
    page = "https://app.example.com"
    scene.deployment.tenancy.change_tenant("acme", Change(origins=(page,)))
    answer = scene.call("POST", CHATS, CHAT, Origin=page, X_Cloister_Page="1")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, page)
    key = f"Bearer {scene.deployment.key()}"
    answers = [answer, scene.call("POST", CHATS, CHAT, Origin=page, Authorization=key)]
    asked = {"Origin": page, "Access_Control_Request_Headers": "x-cloister-page"}
    answers.append(scene.call("OPTIONS", CHATS, **asked))
    assert [each.status for each in answers] == [403, 200, 204]
    assert all("access-control-allow-credentials" not in each.headers for each in answers)


def test_where_a_key_is_sent_no_cookie_is_looked_at(scene: Scene) -> None:
    assert scene.call("POST", CHATS, CHAT, Authorization="Bearer ck_wrong").status == 401
    assert scene.call("POST", CHATS, CHAT, X_API_Key=scene.deployment.key()).status == 200


def test_where_we_do_not_know_who_we_are_no_session_counts(gateway: Gateway, scene: Scene) -> None:
    scene.deployment.public_url = ""
    with wiring.opening_into(scene.deployment.rooms()):
        for origin in ("", OURS, gateway.base_url):
            assert scene.call("POST", CHATS, CHAT, Origin=origin, X_Cloister_Page="1").status == 403


def test_a_session_that_there_is_not_is_a_wrong_key(scene: Scene) -> None:
    wrong = [
        scene.text[:-1] + "_",
        scene.text.replace("cs_", "ck_"),
        "cs_",
        "x",
        scene.text.replace("acme.", "nobody."),
    ]
    answers = [scene.call("GET", "/tenants/acme/usage", text=text) for text in wrong]
    assert [answer.status for answer in answers] == [401] * 5
    key = scene.deployment.key()
    assert scene.call("GET", "/tenants/acme/usage", text=key).status == 401  # no key in a cookie
    assert scene.gateway.call("GET", "/tenants/acme/usage", key=scene.text).status == 401  # no session in a header


def test_a_lambda_without_the_bridge_takes_and_sets_the_cookie(scene: Scene) -> None:
    scene.after(IDLE_MS // 2)
    sent = {"cookie": f"{COOKIE}acme={scene.text}", "origin": OURS, "x-cloister-page": "1", "accept": "*/*"}
    event = {
        "resource": "/tenants/{tenant}/session/renew", "path": "/tenants/acme/session/renew", "httpMethod": "POST",
        "headers": sent, "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": None, "multiValueQueryStringParameters": None, "pathParameters": {"tenant": "acme"},
        "stageVariables": None, "body": None, "isBase64Encoded": False,
        "requestContext": {"resourcePath": "/tenants/{tenant}/session/renew", "httpMethod": "POST", "identity": {}},
    }  # fmt: skip
    answer = app(event, None)
    assert answer["statusCode"] == 200, answer
    (cookie,) = answer["multiValueHeaders"]["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}acme=cs_acme.")
    assert json.loads(answer["body"])["expires_ms"] == scene.deployment.clock() + IDLE_MS


# until when


def test_a_session_that_nobody_renews_is_over(scene: Scene) -> None:
    scene.after(IDLE_MS - 1)
    assert scene.call("POST", CHATS, CHAT).status == 200
    scene.after(1)
    assert scene.call("POST", CHATS, CHAT).status == 401
    assert scene.renew() == (401, None)


def test_a_session_is_renewed_with_another_secret_and_not_for_ever(scene: Scene) -> None:
    text, began_ms = scene.text, scene.deployment.clock()
    while scene.deployment.clock() + IDLE_MS // 2 < began_ms + LONGEST_MS:
        scene.after(IDLE_MS // 2)
        status, renewed = scene.renew(text)
        assert status == 200
        assert renewed not in (None, text)
        text = renewed or ""
    assert scene.call("POST", CHATS, CHAT, text=text).status == 200
    scene.after(IDLE_MS // 2)
    assert scene.deployment.clock() == began_ms + LONGEST_MS
    assert scene.call("POST", CHATS, CHAT, text=text).status == 401


def test_an_old_secret_lives_out_its_time_and_no_longer(scene: Scene) -> None:
    scene.after(IDLE_MS // 2)
    _, renewed = scene.renew()
    assert scene.call("POST", CHATS, CHAT).status == 200  # what was on its way
    scene.after(IDLE_MS // 2)
    assert scene.call("POST", CHATS, CHAT).status == 401
    assert scene.call("POST", CHATS, CHAT, text=renewed).status == 200


def test_two_pages_that_renew_at_once_lose_nothing(scene: Scene) -> None:
    scene.after(IDLE_MS // 2)
    first, second = scene.renew(), scene.renew()
    assert (first[0], second) == (200, (200, None))
    assert scene.call("POST", CHATS, CHAT, text=first[1]).status == 200


def test_who_renews_with_a_secret_that_was_replaced_has_stolen_it_or_was_stolen_from(scene: Scene) -> None:
    scene.after(IDLE_MS // 3)
    _, renewed = scene.renew()
    scene.after(IDLE_MS // 3)
    assert scene.renew() == (401, None)
    assert scene.call("POST", CHATS, CHAT, text=renewed).status == 401  # whoever of the two has it


def test_a_key_is_not_renewed(scene: Scene) -> None:
    answer = scene.gateway.call("POST", "/tenants/acme/session/renew", key=scene.deployment.key())
    assert (answer.status, "Only a session" in answer.json["detail"]) == (403, True)


def test_the_role_of_a_session_is_the_members_now(scene: Scene) -> None:
    people = scene.deployment.tenancy.people
    people.put("acme", "eve", "owner")
    assert scene.call("POST", CHATS, CHAT).status == 200
    people.put("acme", "ada", "viewer")
    assert scene.call("POST", CHATS, CHAT).status == 403
    people.put("acme", "ada", "owner")
    assert scene.call("GET", "/tenants/acme/members").status == 200
    assert scene.call("POST", "/tenants/acme/keys", {"role": "owner"}).json["key"]["member"] == "ada"


def test_whoever_is_removed_and_invited_again_signs_in_again(scene: Scene) -> None:
    people = scene.deployment.tenancy.people
    people.remove("acme", "ada")
    assert scene.call("POST", CHATS, CHAT).status == 401
    scene.after(1)
    people.put("acme", "ada", "developer")
    people.join("https://login.example.com", "ada", None, of_tenant=None)
    assert scene.call("POST", CHATS, CHAT).status == 401


def test_whoever_leaves_is_gone_with_all_that_was_theirs_and_the_last_owner_stays(scene: Scene) -> None:
    people, leaving = scene.deployment.tenancy.people, "/tenants/acme/membership"
    people.put_roles("acme", {"chatter": CustomRole("developer", Scopes(surfaces=("openai",)))})
    people.put("acme", "ada", "chatter")
    key = scene.deployment.key(member="ada")
    _, owners = scene.begun("eve", "owner")
    assert scene.gateway.call("DELETE", leaving, key=key).status == 403
    assert scene.call("DELETE", leaving, Accept="*/*").status == 403  # no page of ours sends that
    left = scene.call("DELETE", leaving)
    assert (left.status, "Max-Age=0" in left.headers["set-cookie"]) == (204, True)
    assert scene.call("POST", CHATS, CHAT).status == 401
    assert scene.gateway.call("POST", CHATS, key=key, json=CHAT).status == 401
    assert [each.subject for each in people.members("acme")] == ["eve"]
    stays = scene.call("DELETE", leaving, text=owners)
    assert (stays.status, "owner" in stays.json["detail"]) == (409, True)
    said = events(scene.gateway, scene.deployment.key())
    assert {(each["action"], each["who"]["subject"], each["status"]) for each in said} == {
        ("leave", "member:ada", 204), ("leave", "member:eve", 409),
    }  # fmt: skip


# seen and ended


def test_one_sees_and_ends_ones_own_and_owners_everybodys(scene: Scene) -> None:
    theirs, owner = scene.begun("eve", "owner")
    _, viewer = scene.begun("kim", "viewer")
    mine = scene.call("GET", "/tenants/acme/sessions").json["sessions"]
    assert [(each["member"], each["current"], each["address"]) for each in mine] == [("ada", True, "192.0.2.7")]
    every = scene.call("GET", "/tenants/acme/sessions", text=owner).json["sessions"]
    assert {each["member"] for each in every} == {"ada", "eve", "kim"}
    assert scene.text.rpartition("_")[2] not in str(every)
    assert "digest" not in str(every)
    assert scene.call("DELETE", f"/tenants/acme/sessions/{theirs.id}").status == 404
    assert scene.call("DELETE", f"/tenants/acme/sessions/{scene.session.id}", text=viewer).status == 404
    assert scene.call("DELETE", f"/tenants/acme/sessions/{scene.session.id}", text=owner).status == 204
    assert scene.call("POST", CHATS, CHAT).status == 401
    assert scene.call("DELETE", f"/tenants/acme/sessions/{theirs.id}", text=owner).status == 204  # this one's own
    assert scene.call("GET", "/tenants/acme/sessions", text=owner).status == 401


def test_a_remembered_session_costs_no_read_and_its_end_is_known_everywhere(scene: Scene) -> None:
    elsewhere = scene.deployment.rooms()
    with wiring.opening_into(elsewhere):
        assert [scene.call("POST", CHATS, CHAT).status for _ in range(2)] == [200, 200]
    scene.deployment.tenancy.sessions.end(scene.session)
    with wiring.opening_into(elsewhere):
        assert scene.call("POST", CHATS, CHAT).status == 401


# streams


def end(deployment: Deployment, session: Session) -> None:
    deployment.tenancy.sessions.end(session)


def remove(deployment: Deployment, _: Session) -> None:
    deployment.tenancy.people.remove("acme", "ada")


def expire(deployment: Deployment, _: Session) -> None:
    deployment.clock.now_ms += IDLE_MS


@pytest.mark.parametrize("undo", [end, remove, expire])
def test_a_stream_ends_with_its_session(undo: Callable[[Deployment, Session], None]) -> None:
    running = Front(*BEGUN, look_s=AT_ONCE_S)
    running.deployment.public_url = OURS
    session, text = begun(running.deployment, "acme", "developer")
    cookie = {"cookie": f"{COOKIE}acme={text.text}", "origin": OURS, "x-cloister-page": "1", "authorization": ""}

    async def scene() -> None:
        stream = Client(running, headers=cookie)
        await stream.until(lambda: CHUNK in stream.body)
        undo(running.deployment, session)
        await stream.exchange
        assert stream.ended
        last = stream.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
        assert b"unknown, revoked or expired" in last
        assert msgspec.json.decode(last)["error"]

    play(running, scene)
    assert [entry.reason for entry in running.entries] == [REVOKED]


def test_a_stream_goes_on_when_its_session_is_renewed() -> None:
    running = Front(*BEGUN, look_s=AT_ONCE_S)
    running.deployment.public_url = OURS
    _, text = begun(running.deployment, "acme", "developer")
    cookie = {"cookie": f"{COOKIE}acme={text.text}", "origin": OURS, "x-cloister-page": "1", "authorization": ""}

    async def scene() -> None:
        stream = Client(running, headers=cookie)
        await stream.until(lambda: CHUNK in stream.body)
        running.deployment.clock.now_ms += IDLE_MS // 2
        renewed, new = running.deployment.tenancy.sessions.renew(text, LIFETIME)
        assert new is not None
        running.deployment.tenancy.people.put("acme", "eve", "viewer")  # the epoch moves
        assert look_at_running(wiring.path())
        assert not stream.ended
        running.deployment.tenancy.sessions.end(renewed)
        await stream.exchange

    play(running, scene)
