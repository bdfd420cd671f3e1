"""The JSON API through botocore's unmodified client."""

import base64
import hashlib
import hmac
from typing import Any

import httpx
import pytest
from joserfc.errors import JoseError

from tests.emulators.cognito.served import MAIL, PASSWORD, UserPool, refused

pytestmark = pytest.mark.usefixtures("no_authorities")


def renew(pool: UserPool, refresh: str, flow: str = "REFRESH_TOKEN_AUTH") -> dict[str, Any]:
    asked = {"AuthFlow": flow, "ClientId": pool.programs, "AuthParameters": {"REFRESH_TOKEN": refresh}}
    answer: dict[str, Any] = pool.served.anybody.initiate_auth(**asked)["AuthenticationResult"]
    return answer


def test_a_program_gets_tokens_for_a_persons_password(pool: UserPool) -> None:
    pool.served.operator.create_group(UserPoolId=pool.id, GroupName="owner")
    pool.served.operator.admin_add_user_to_group(UserPoolId=pool.id, Username=MAIL, GroupName="owner")
    given = pool.tokens()

    about, may = pool.claims(given["IdToken"]), pool.claims(given["AccessToken"])
    assert given["TokenType"] == "Bearer" and given["ExpiresIn"] == 3600
    assert (may["client_id"], may["token_use"], may["username"]) == (pool.programs, "access", pool.ada)
    assert may["scope"] == "aws.cognito.signin.user.admin" and "aud" not in may
    assert (about["aud"], about["token_use"], about["email"]) == (pool.programs, "id", MAIL)
    assert about["cognito:groups"] == may["cognito:groups"] == ["owner"]


@pytest.mark.parametrize(("mail", "password"), [(MAIL, "wrong"), ("nobody@acme.example", PASSWORD)])
def test_a_wrong_password_and_an_unknown_person_are_refused_alike(pool: UserPool, mail: str, password: str) -> None:
    with refused("NotAuthorizedException", "Incorrect username or password."):
        pool.enter(mail, password)


def test_a_client_that_hides_nobody_is_told_who_is_unknown(pool: UserPool) -> None:
    open_one = pool.client(ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])["ClientId"]
    with refused("UserNotFoundException", "User does not exist."):
        pool.enter("nobody@acme.example", PASSWORD, client=open_one)


def test_guessing_locks_the_account_for_longer_and_longer(pool: UserPool) -> None:
    for _ in range(5):
        with refused("NotAuthorizedException", "Incorrect"):
            pool.enter(MAIL, "guess")
    with refused("NotAuthorizedException", "Password attempts exceeded"):
        pool.enter()
    pool.served.clock.advance(1_000)
    with refused("NotAuthorizedException", "Incorrect"):
        pool.enter(MAIL, "guess")
    pool.served.clock.advance(1_000)
    with refused("NotAuthorizedException", "Password attempts exceeded"):
        pool.enter()
    pool.served.clock.advance(1_000)
    assert pool.tokens()


def test_a_flow_that_the_client_may_not_use_is_refused(pool: UserPool) -> None:
    with refused("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client"):
        pool.enter(client=pool.web)
    with refused("ResourceNotFoundException", "does not exist"):
        pool.enter(client="nobody")


def test_a_client_with_a_secret_proves_it_by_a_hash(pool: UserPool) -> None:
    client = pool.client(GenerateSecret=True, ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])
    mac = hmac.new(client["ClientSecret"].encode(), (MAIL + client["ClientId"]).encode(), hashlib.sha256)
    proof = base64.b64encode(mac.digest()).decode()
    given = {"USERNAME": MAIL, "PASSWORD": PASSWORD}
    asked: dict[str, Any] = {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": client["ClientId"]}

    assert pool.served.anybody.initiate_auth(**asked, AuthParameters={**given, "SECRET_HASH": proof})
    for wrong, text in (({}, "was not received"), ({"SECRET_HASH": "x"}, "Unable to verify secret hash")):
        with refused("NotAuthorizedException", text):
            pool.served.anybody.initiate_auth(**asked, AuthParameters={**given, **wrong})


def test_refresh_tokens_are_good_until_they_are_revoked_or_their_time_is_over(pool: UserPool) -> None:
    held = pool.tokens()["RefreshToken"]
    assert pool.claims(renew(pool, held)["AccessToken"])["sub"] == pool.ada
    pool.served.anybody.revoke_token(Token=held, ClientId=pool.programs)
    with refused("NotAuthorizedException", "Invalid Refresh Token"):
        renew(pool, held)

    old = pool.tokens()["RefreshToken"]
    pool.served.clock.advance(30 * 86_400_000)
    with refused("NotAuthorizedException", "Invalid Refresh Token"):
        renew(pool, old)


def test_signing_out_everywhere_ends_every_sign_in(pool: UserPool) -> None:
    here, there = pool.tokens(), pool.tokens()
    pool.served.anybody.global_sign_out(AccessToken=here["AccessToken"])
    with refused("NotAuthorizedException", "Access Token has been revoked"):
        pool.served.anybody.get_user(AccessToken=there["AccessToken"])
    with refused("NotAuthorizedException"):
        renew(pool, there["RefreshToken"])


def test_get_user_tells_who_holds_the_token(pool: UserPool) -> None:
    told = pool.served.anybody.get_user(AccessToken=pool.tokens()["AccessToken"])
    assert told["Username"] == pool.ada
    assert {each["Name"]: each["Value"] for each in told["UserAttributes"]} == {
        "sub": pool.ada,
        "email": MAIL,
        "email_verified": "true",
    }


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0."])
def test_what_is_no_access_token_of_a_pool_tells_nothing(pool: UserPool, token: str) -> None:
    with refused("NotAuthorizedException", "Invalid Access Token"):
        pool.served.anybody.get_user(AccessToken=token)
    with refused("NotAuthorizedException", "Invalid Access Token"):
        pool.served.anybody.get_user(AccessToken=pool.tokens()["IdToken"])


def test_an_access_token_ends(pool: UserPool) -> None:
    held = pool.tokens()["AccessToken"]
    pool.served.clock.advance(3_600_000)
    with refused("NotAuthorizedException", "Access Token has expired"):
        pool.served.anybody.get_user(AccessToken=held)


def test_who_is_disabled_gets_nothing_until_they_are_enabled(pool: UserPool) -> None:
    held, operator = pool.tokens()["RefreshToken"], pool.served.operator
    operator.admin_disable_user(UserPoolId=pool.id, Username=MAIL)
    with refused("NotAuthorizedException", "User is disabled."):
        pool.enter()
    with refused("NotAuthorizedException"):
        renew(pool, held)
    operator.admin_enable_user(UserPoolId=pool.id, Username=MAIL)
    assert pool.tokens()


def test_a_temporary_password_is_answered_with_a_challenge(pool: UserPool) -> None:
    operator, anybody = pool.served.operator, pool.served.anybody
    operator.admin_create_user(UserPoolId=pool.id, Username="bo@acme.example", TemporaryPassword="Temporary-1")
    challenged = pool.enter("bo@acme.example", "Temporary-1")
    assert challenged["ChallengeName"] == "NEW_PASSWORD_REQUIRED" and "AuthenticationResult" not in challenged

    answered = {"ClientId": pool.programs, "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": challenged["Session"]}
    with refused("InvalidPasswordException", "Password not long enough"):
        anybody.respond_to_auth_challenge(**answered, ChallengeResponses={"NEW_PASSWORD": "weak"})
    chosen = {"USERNAME": "bo@acme.example", "NEW_PASSWORD": "My-own-1234"}
    assert anybody.respond_to_auth_challenge(**answered, ChallengeResponses=chosen)["AuthenticationResult"]
    with refused("NotAuthorizedException", "Invalid session"):
        anybody.respond_to_auth_challenge(**answered, ChallengeResponses=chosen)
    assert operator.admin_get_user(UserPoolId=pool.id, Username="bo@acme.example")["UserStatus"] == "CONFIRMED"


def test_what_operators_do_is_for_who_signs(pool: UserPool) -> None:
    with refused("MissingAuthenticationTokenException"):
        pool.served.anybody.admin_get_user(UserPoolId=pool.id, Username=MAIL)


def test_what_is_not_here_is_refused_and_not_forgotten(pool: UserPool) -> None:
    operator = pool.served.operator
    with refused("UnknownOperationException", "docs/local-cognito.md"):
        operator.list_identity_providers(UserPoolId=pool.id)
    with refused("InvalidParameterException", "MfaConfiguration"):
        operator.create_user_pool(PoolName="a", MfaConfiguration="ON")
    with refused("UsernameExistsException"):
        operator.admin_create_user(UserPoolId=pool.id, Username=MAIL.upper())
    with refused("InvalidOAuthFlowException"):
        pool.client(AllowedOAuthFlows=["client_credentials"], AllowedOAuthScopes=["cloister/api"])
    with refused("ScopeDoesNotExistException"):
        pool.client(AllowedOAuthFlows=["code"], AllowedOAuthScopes=["nothing/here"])


def test_a_client_is_changed_as_a_whole(pool: UserPool) -> None:
    operator = pool.served.operator
    operator.update_user_pool_client(UserPoolId=pool.id, ClientId=pool.programs, CallbackURLs=["https://a.example/"])
    told = operator.describe_user_pool_client(UserPoolId=pool.id, ClientId=pool.programs)["UserPoolClient"]
    assert (told["CallbackURLs"], told["ExplicitAuthFlows"]) == (["https://a.example/"], [])


def test_each_pool_signs_with_keys_of_its_own(pool: UserPool) -> None:
    other = UserPool(pool.served)
    held = pool.tokens()["AccessToken"]
    assert pool.claims(held)
    with pytest.raises(JoseError):
        other.claims(held)


def test_the_issuer_is_discovered_where_it_says_it_is(pool: UserPool) -> None:
    told = httpx.get(f"{pool.issuer}/.well-known/openid-configuration").json()
    assert told["issuer"] == pool.issuer == pool.claims(pool.tokens()["AccessToken"])["iss"]
    assert told["jwks_uri"] == f"{pool.issuer}/.well-known/jwks.json"
    ours = [told[f"{name}_endpoint"] for name in ("authorization", "token", "userinfo", "revocation", "end_session")]
    assert all(each.startswith(f"{pool.served.url}/") for each in ours)
    keys = httpx.get(told["jwks_uri"]).json()["keys"]
    assert [{"kty", "n", "e", "kid", "alg", "use"} == set(key) for key in keys] == [True, True]
    assert len({key["kid"] for key in keys}) == 2
    assert httpx.get(f"{pool.served.url}/us-east-1_nobody/.well-known/jwks.json").status_code == 400
