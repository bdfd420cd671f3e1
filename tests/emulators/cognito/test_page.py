"""The sign-in page and what is exchanged for what it gives, as a browser and a client see them."""

import httpx
import pytest

from tests.emulators.cognito.served import (
    BACK,
    MAIL,
    OUT,
    PASSWORD,
    VERIFIER,
    UserPool,
    came_back,
    fill,
    served,
    sign_in,
)

pytestmark = pytest.mark.usefixtures("no_authorities")


def test_a_person_signs_in_and_the_client_learns_who_they_are(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        told = came_back(sign_in(browser, pool.asking()))
    answer = pool.exchange(told["code"]).json()

    about, may = pool.claims(answer["id_token"]), pool.claims(answer["access_token"])
    assert told["state"] == "a-state"
    assert (about["iss"], about["aud"], about["nonce"]) == (pool.issuer, pool.web, "a-nonce")
    assert (about["sub"], about["email"], about["email_verified"]) == (pool.ada, MAIL, True)
    assert (may["iss"], may["sub"], may["client_id"]) == (pool.issuer, pool.ada, pool.web)
    assert (may["token_use"], may["scope"]) == ("access", "openid email") and "aud" not in may
    assert answer["token_type"] == "Bearer" and answer["expires_in"] == may["exp"] - may["iat"] == 3600


def test_who_is_signed_in_is_sent_on_at_once_until_they_sign_out(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        sign_in(browser, pool.asking())
        assert "code" in came_back(browser.get("/oauth2/authorize", params=pool.asking()))
        assert "/login" in browser.get("/oauth2/authorize", params=pool.asking(prompt="login")).headers["location"]

        out = browser.get("/logout", params={"client_id": pool.web, "logout_uri": OUT})
        assert out.headers["location"] == OUT
        assert "/login" in browser.get("/oauth2/authorize", params=pool.asking()).headers["location"]
        none = came_back(browser.get("/oauth2/authorize", params=pool.asking(prompt="none")))
        assert (none["error"], none["state"]) == ("login_required", "a-state")


def test_a_browser_of_one_pool_is_nobody_at_another(pool: UserPool) -> None:
    other = UserPool(pool.served)
    with pool.served.browser() as browser:
        sign_in(browser, pool.asking())
        assert "/login" in browser.get("/oauth2/authorize", params=other.asking()).headers["location"]


@pytest.mark.parametrize("verifier", ["another-verifier-of-at-least-forty-three-chars", "short", ""])
def test_a_wrong_verifier_gets_nothing_and_spends_the_code(pool: UserPool, verifier: str) -> None:
    with pool.served.browser() as browser:
        code = pool.code(browser)
    assert (pool.exchange(code, code_verifier=verifier).json()) == {"error": "invalid_grant"}
    assert pool.exchange(code).json() == {"error": "invalid_grant"}


def test_a_code_is_good_once(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        code = pool.code(browser)
    assert pool.exchange(code).status_code == 200
    again = pool.exchange(code)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})


def test_a_code_is_good_for_five_minutes(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        code, late = pool.code(browser), pool.code(browser, prompt="login")
    pool.served.clock.advance(200_000)
    assert pool.exchange(code).status_code == 200
    pool.served.clock.advance(200_000)
    assert pool.exchange(late).json() == {"error": "invalid_grant"}


def test_a_code_is_for_the_client_and_the_address_it_was_given_to(pool: UserPool) -> None:
    other = pool.client(AllowedOAuthFlows=["code"], AllowedOAuthScopes=["openid"], CallbackURLs=[BACK])["ClientId"]
    for wrong in ({"client_id": other}, {"redirect_uri": f"{BACK}/"}, {"redirect_uri": ""}):
        with pool.served.browser() as browser:
            assert pool.exchange(pool.code(browser), **wrong).json() == {"error": "invalid_grant"}, wrong


@pytest.mark.parametrize(
    "other",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": f"{BACK}/more"},
        {"redirect_uri": ""},
        {"client_id": "nobody"},
    ],
)
@pytest.mark.parametrize("path", ["/oauth2/authorize", "/login"])
def test_no_browser_is_sent_to_an_address_that_is_not_the_clients(
    pool: UserPool, path: str, other: dict[str, str]
) -> None:
    with pool.served.browser() as browser:
        answer = browser.get(path, params=pool.asking(**other))
    assert answer.status_code == 400 and "location" not in answer.headers
    assert "goes no further" in answer.text


def test_nobody_is_sent_to_a_foreign_address_when_they_sign_out(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        answer = browser.get("/logout", params={"client_id": pool.web, "logout_uri": "https://evil.example/"})
    assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": VERIFIER}, "invalid_request"),  # as method plain would have it
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "openid cloister/api"}, "invalid_scope"),
    ],
)
def test_a_client_that_asks_wrongly_is_told_and_gets_no_code(pool: UserPool, other: dict[str, str], error: str) -> None:
    with pool.served.browser() as browser:
        told = came_back(browser.get("/oauth2/authorize", params=pool.asking(**other)))
    assert (told["error"], told["state"]) == (error, "a-state") and "code" not in told


@pytest.mark.parametrize(("mail", "password"), [(MAIL, "wrong"), ("nobody@acme.example", PASSWORD)])
def test_a_wrong_password_and_an_unknown_person_are_told_alike(pool: UserPool, mail: str, password: str) -> None:
    with pool.served.browser() as browser:
        answer = sign_in(browser, pool.asking(client_id=pool.web), mail, password)
    assert answer.status_code == 400 and "location" not in answer.headers
    assert "Incorrect username or password." in answer.text


def test_a_form_that_was_not_fetched_by_this_browser_signs_nobody_in(pool: UserPool) -> None:
    with pool.served.browser() as one, pool.served.browser() as other:
        page = one.get("/login", params=pool.asking())
        answer = fill(other, page, username=MAIL, password=PASSWORD)
        assert "location" not in answer.headers
        assert "code" in came_back(fill(other, answer, username=MAIL, password=PASSWORD))  # the one it was given now


def test_a_temporary_password_opens_nothing_but_the_choice_of_another(pool: UserPool) -> None:
    operator = pool.served.operator
    operator.admin_create_user(UserPoolId=pool.id, Username="bo@acme.example", TemporaryPassword="Temporary-1")
    with pool.served.browser() as browser:
        choice = sign_in(browser, pool.asking(), "bo@acme.example", "Temporary-1")
        assert "Choose a password" in choice.text and "location" not in choice.headers
        weak = fill(browser, choice, new_password="weak")
        assert "Password not long enough" in weak.text and "Choose a password" in weak.text
        assert "code" in came_back(fill(browser, weak, new_password="My-own-1234"))
    assert pool.tokens(mail="bo@acme.example", password="My-own-1234")


def test_the_page_holds_no_script_and_lets_nobody_frame_it(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        page = browser.get("/login", params=pool.asking(login_hint='"><script>alert(1)</script>'))
    assert "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:8000;" in policy  # or the browser would not be sent back
    assert page.headers["cache-control"] == "no-store"
    assert all(each in page.headers["set-cookie"] for each in ("HttpOnly", "SameSite=Lax"))


def test_a_refresh_token_gets_tokens_until_it_is_revoked(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        first = pool.exchange(pool.code(browser)).json()
    form = {"grant_type": "refresh_token", "client_id": pool.web, "refresh_token": first["refresh_token"]}

    second = pool.post("/oauth2/token", form).json()
    assert pool.claims(second["access_token"])["sub"] == pool.ada and "refresh_token" not in second
    assert pool.claims(second["access_token"])["jti"] != pool.claims(first["access_token"])["jti"]

    revoked = {"client_id": pool.web, "token": first["refresh_token"]}
    assert [pool.post("/oauth2/revoke", revoked).status_code for _ in range(2)] == [200, 200]
    assert pool.post("/oauth2/token", form).json() == {"error": "invalid_grant"}


def test_a_machine_gets_the_scopes_of_its_client_and_names_nobody(pool: UserPool) -> None:
    machine = pool.machine()
    by_header = {"auth": (machine["ClientId"], machine["ClientSecret"])}
    in_body = {"client_id": machine["ClientId"], "client_secret": machine["ClientSecret"]}
    asked = {"grant_type": "client_credentials"}

    for answer in (pool.post("/oauth2/token", asked, **by_header), pool.post("/oauth2/token", asked | in_body)):
        claims = pool.claims(answer.json()["access_token"])
        assert (claims["sub"], claims["client_id"]) == (machine["ClientId"],) * 2
        assert (claims["scope"], claims["token_use"]) == ("cloister/api", "access")
        assert not claims.keys() & {"aud", "username"} and answer.json().keys().isdisjoint(
            {"id_token", "refresh_token"}
        )

    assert pool.post("/oauth2/token", asked | in_body | {"scope": "openid"}).json() == {"error": "invalid_scope"}
    assert pool.post("/oauth2/token", asked | in_body | {"client_secret": "x"}).json() == {"error": "invalid_client"}
    assert pool.post("/oauth2/token", asked | {"client_id": pool.web}).json() == {"error": "unauthorized_client"}


def test_user_info_is_for_who_holds_a_token_of_the_page(pool: UserPool) -> None:
    with pool.served.browser() as browser:
        access = pool.exchange(pool.code(browser)).json()["access_token"]

    def asked(token: str) -> httpx.Response:
        return httpx.get(f"{pool.served.url}/oauth2/userInfo", headers={"authorization": f"Bearer {token}"})

    assert asked(access).json() == {"sub": pool.ada, "email": MAIL, "email_verified": "true", "username": pool.ada}
    assert [asked(token).status_code for token in (pool.tokens()["AccessToken"], access[:-3], "x")] == [401] * 3


def test_who_signed_in_stays_known_when_it_starts_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.mktemp("cognito") / "people.sqlite"
    with served(kept) as before:
        pool = UserPool(before)
        held = pool.tokens()
    assert PASSWORD.encode() not in kept.read_bytes() and held["RefreshToken"].encode() not in kept.read_bytes()
    assert kept.stat().st_mode & 0o077 == 0

    with served(kept) as after:
        refresh = {"REFRESH_TOKEN": held["RefreshToken"]}
        asked = {"AuthFlow": "REFRESH_TOKEN_AUTH", "ClientId": pool.programs, "AuthParameters": refresh}
        renewed = after.anybody.initiate_auth(**asked)["AuthenticationResult"]
        pool.issuer = f"{after.url}/{pool.id}"
        assert pool.claims(renewed["AccessToken"])["sub"] == pool.ada
        assert pool.claims(held["AccessToken"])["sub"] == pool.ada  # its keys are the same
