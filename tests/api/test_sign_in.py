"""Members sign in by a browser, at the real page of the local Cognito; who tries with less has nothing."""

from collections.abc import Iterator

import pytest

from chalicelib import wiring
from chalicelib.http.own_pages import COOKIE, SIGN_IN
from chalicelib.identity.signin.attempt import begun
from chalicelib.identity.signin.endpoints import FRESH_MS
from chalicelib.tenancy.tenant import Issuer
from emulators.clock import now_ms
from tests.api.browsers import HTML, PUBLIC_URL, Browser, at_the_page, goes_on_to
from tests.api.test_events import events, texts
from tests.emulators.cognito.served import MAIL, Served, UserPool, served
from tests.small_deployments import Deployment, Gateway

CHATS = "/tenants/acme/v1/chat/completions"
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}
PLANTED = "cs_acme.aaaaaaaa_" + "A" * 43


@pytest.fixture(scope="module")
def cognito() -> Iterator[Served]:
    with served() as cognito:
        yield cognito


@pytest.fixture(scope="module")
def pool(cognito: Served) -> UserPool:
    return UserPool(cognito)


@pytest.fixture
def there(pool: UserPool) -> Iterator[Deployment]:
    """`acme`, where Ada is invited by her mail address, and `bolt`, where she is not."""
    deployment = Deployment()
    deployment.clock.now_ms = now_ms()
    deployment.issuers = (Issuer(pool.issuer, client_ids=(pool.web,)),)
    deployment.callable_origins = (pool.served.url,)
    deployment.public_url, deployment.browser_client_id = PUBLIC_URL, pool.web
    deployment.pool()
    deployment.tenant("acme")
    deployment.tenant("bolt")
    deployment.tenancy.people.put("acme", MAIL, "developer")
    with wiring.opening_into(deployment.rooms()):
        yield deployment


@pytest.fixture
def browser(gateway: Gateway, there: Deployment) -> Browser:
    return Browser(gateway)


def test_whoever_was_invited_signs_in_and_their_pages_work(browser: Browser, pool: UserPool, there: Deployment) -> None:
    page = browser.sign_in(pool)
    assert page.status_code == 200, page.text
    assert goes_on_to(page) == f"{PUBLIC_URL}/"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
    assert SIGN_IN not in browser.cookies
    assert browser.page_calls("POST", CHATS, CHAT).status_code == 200
    assert browser.call("GET", "/tenants/acme/usage").status_code == 200
    assert browser.page_calls("GET", "/tenants/acme/keys").status_code == 403  # no owner
    (member,) = there.tenancy.people.members("acme")
    assert member.joined_ms is not None


def test_each_sign_in_and_its_end_stand_in_the_tenants_log_and_no_strangers(
    gateway: Gateway, browser: Browser, pool: UserPool, there: Deployment
) -> None:
    browser.sign_in(pool)
    browser.page_calls("POST", "/signin/acme/out")
    browser.page_calls("POST", "/signin/acme/out")
    assert browser.sign_in(pool, "bolt").status_code == 404
    said = events(gateway, there.key())
    assert sorted((each["action"], each["who"]["proof"]) for each in said) == [
        ("join_tenant", "page"), ("sign_in", "page"), ("sign_out", "session"),
    ]  # fmt: skip
    assert {each["who"]["subject"] for each in said} == {f"member:{MAIL}"}
    assert [each["action"] for each in said if each["made"]] == ["sign_in"]
    assert texts(there, "bolt") == []


def test_no_token_reaches_a_page(browser: Browser, pool: UserPool) -> None:
    browser.sign_in(pool)
    browser.page_calls("GET", "/tenants/acme/sessions")
    for answer in browser.seen:
        assert "eyJ" not in answer.text + str(answer.headers)
        if answer.request.url.path != "/signin/callback":
            assert "cs_" not in answer.text


def test_where_it_goes_on_is_nobodys_to_say(browser: Browser, pool: UserPool) -> None:
    there = browser.begin()
    back = at_the_page(pool, there)
    wish = "https://evil.example/"
    page = browser.come_back({**back, "next": wish, "redirect_uri": wish, "url": wish})
    assert goes_on_to(page) == f"{PUBLIC_URL}/"
    assert "evil" not in page.text


def test_a_session_that_was_planted_before_is_not_the_one_that_begins(browser: Browser, pool: UserPool) -> None:
    browser.cookies[f"{COOKIE}acme"] = PLANTED
    browser.sign_in(pool)
    assert browser.session() not in (None, PLANTED)
    browser.cookies[f"{COOKIE}acme"] = PLANTED
    assert browser.call("GET", "/tenants/acme/usage").status_code == 401


def test_of_two_cookies_of_one_name_neither_counts(browser: Browser, pool: UserPool) -> None:
    browser.sign_in(pool)
    both = f"{COOKIE}acme={PLANTED}; {COOKIE}acme={browser.session()}"
    assert browser.call("GET", "/tenants/acme/usage", {"Cookie": both}).status_code == 401


def test_a_browser_that_has_not_begun_does_not_come_back(gateway: Gateway, browser: Browser, pool: UserPool) -> None:
    """An attacker signs in, and has somebody else's browser come back in their place."""
    back = at_the_page(pool, browser.begin())
    victim = Browser(gateway)
    assert victim.come_back(back).status_code == 401
    victim.begin()
    assert victim.come_back(back).status_code == 401
    assert victim.session() is None
    assert SIGN_IN in victim.cookies  # what the victim has begun is not lost by it
    assert browser.come_back(back).status_code == 200


def test_a_code_of_another_sign_in_is_worth_nothing(gateway: Gateway, browser: Browser, pool: UserPool) -> None:
    """Its verifier is another one: PKCE."""
    stolen = at_the_page(pool, Browser(gateway).begin())["code"]
    own = at_the_page(pool, browser.begin())
    assert browser.come_back({**own, "code": stolen}).status_code == 401
    assert browser.session() is None


def test_a_planted_attempt_has_the_code_of_nobody_else(gateway: Gateway, browser: Browser, pool: UserPool) -> None:
    back = at_the_page(pool, browser.begin())
    planted = begun("acme", bytes(32))
    browser.cookies[SIGN_IN] = planted.text
    assert browser.come_back(back).status_code == 401
    assert browser.come_back({**back, "state": planted.state}).status_code == 401
    assert browser.session() is None


def test_a_code_opens_once(browser: Browser, pool: UserPool) -> None:
    where = browser.begin()
    attempt = browser.cookies[SIGN_IN]
    back = at_the_page(pool, where)
    assert browser.come_back(back).status_code == 200
    browser.cookies = {SIGN_IN: attempt}
    again = browser.come_back(back)
    assert (again.status_code, browser.session()) == (401, None)
    assert f'href="{PUBLIC_URL}/signin/acme"' in again.text


@pytest.mark.parametrize("back", [{}, {"code": "x"}, {"state": "x"}, {"error": "access_denied"}, {"code": "x" * 4_000}])
def test_who_comes_back_with_less_begins_again(browser: Browser, back: dict[str, str]) -> None:
    attempt = browser.begin().partition("state=")[2].partition("&")[0]
    for said in (back, {**back, "state": attempt}):
        assert browser.come_back(said).status_code == 401
    assert browser.session() is None


def test_whoever_is_no_member_hears_the_same_of_every_tenant(browser: Browser, pool: UserPool) -> None:
    pages = {tenant: browser.sign_in(pool, tenant) for tenant in ("bolt", "nobody", "platform")}
    assert {page.status_code for page in pages.values()} == {404}
    assert len({page.text.replace(f"/signin/{tenant}", "") for tenant, page in pages.items()}) == 1
    assert not browser.cookies


def test_an_address_that_the_issuer_has_not_verified_invites_nobody(
    browser: Browser, pool: UserPool, there: Deployment
) -> None:
    mail = "kim@acme.example"
    there.tenancy.people.put("acme", mail, "owner")
    pool.person(mail, "Right-1234")
    unverified = [{"Name": "email", "Value": mail}, {"Name": "email_verified", "Value": "false"}]
    pool.served.operator.admin_update_user_attributes(UserPoolId=pool.id, Username=mail, UserAttributes=unverified)
    back = at_the_page(pool, browser.begin(), mail)
    assert browser.come_back(back).status_code == 404
    assert all(member.joined_ms is None for member in there.tenancy.people.members("acme"))


def test_programs_are_refused_as_ever(browser: Browser) -> None:
    answer = browser.call("GET", "/signin/callback")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_an_issuer_that_does_not_answer_is_said_to(
    gateway: Gateway, browser: Browser, pool: UserPool, there: Deployment
) -> None:
    browser.begin()
    there.clock.now_ms += FRESH_MS
    there.callable_origins = ()
    browser.begin()  # what it said last holds
    with wiring.opening_into(there.rooms()):  # a process that has not asked yet, and may not
        answer = Browser(gateway).call("GET", "/signin/acme", HTML)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_name_that_no_tenant_has_leads_nowhere(browser: Browser) -> None:
    assert browser.call("GET", "/signin/~platform").status_code == 404
    assert browser.call("GET", "/signin/A").status_code == 404


def test_who_signs_out_is_out_everywhere_and_told_where_the_issuer_has_its_page(
    gateway: Gateway, browser: Browser, pool: UserPool, there: Deployment
) -> None:
    browser.sign_in(pool)
    stolen = Browser(gateway)
    stolen.cookies = dict(browser.cookies)
    answer = browser.page_calls("POST", "/signin/acme/out")
    assert answer.status_code == 200, answer.text
    assert answer.json()["issuer_logout"].startswith(f"{pool.served.url}/logout?client_id={pool.web}&")
    assert browser.session() is None
    assert stolen.page_calls("POST", CHATS, CHAT).status_code == 401
    assert there.tenancy.sessions.sessions("acme") == []
    assert browser.page_calls("POST", "/signin/acme/out").json() == answer.json()


def test_nobody_is_signed_out_by_another_page(browser: Browser, pool: UserPool) -> None:
    browser.sign_in(pool)
    assert browser.call("POST", "/signin/acme/out", {"Origin": "https://evil.example"}).status_code == 403
    assert browser.call("GET", "/tenants/acme/usage").status_code == 200
