"""What makes a sign-in one browser's own, and what an ID token must say for it."""

from typing import Any

import pytest

from chalicelib.egress import Egress
from chalicelib.identity.claims import Identity
from chalicelib.identity.signin.attempt import Attempt, attempt_of, begun
from chalicelib.identity.signin.endpoints import FRESH_MS, PAUSE_MS, STALE_MS, KnownEndpoints
from chalicelib.refusal import NoCapacity, Unauthenticated
from chalicelib.tenancy.tenant import Issuer as Configured
from tests.emulators.cognito.served import challenge
from tests.engines import servers
from tests.engines.servers import whole
from tests.issuer import CLIENT, Issuer, Verifier, issuing
from tests.small_deployments import T0

NONCE = "the-nonce-of-this-one"


def test_an_attempt_is_what_its_browser_kept() -> None:
    attempt = begun("acme", bytes(range(32)))
    assert attempt_of(attempt.text) == attempt
    assert attempt.challenge == challenge(attempt.verifier)
    assert len({attempt.state, attempt.nonce, attempt.verifier, attempt.seed}) == 4
    assert attempt.seed not in repr(attempt)


@pytest.mark.parametrize("text", ["", "acme", "acme.", "acme." + "A" * 42, "~platform." + "A" * 43, "a.b." + "A" * 43])
def test_what_no_browser_kept_is_no_attempt(text: str) -> None:
    assert attempt_of(text) is None


@pytest.mark.parametrize("other", [begun("bolt", bytes(32)), begun("acme", b"x" * 32)])
def test_only_its_own_state_answers_it(other: Attempt) -> None:
    attempt = begun("acme", bytes(32))
    assert attempt.is_answered_by(attempt.state)
    assert not any(attempt.is_answered_by(state) for state in (other.state, "", attempt.nonce, "ä"))


def judged(issuer: Issuer, **claims: Any) -> Identity:
    said = {"aud": CLIENT, "token_use": "id", "nonce": NONCE, "client_id": None, **claims}
    token = issuer.token(None, claims.pop("key", None), **said)
    return Verifier(issuer).tokens.signed_in(token, Configured(issuer.url), CLIENT, NONCE, T0)


def test_an_id_token_says_who_and_by_which_address_if_that_is_verified() -> None:
    with issuing() as issuer:
        assert judged(issuer) == Identity(issuer.url, "ada", None)
        assert judged(issuer, email="ada@acme.example").mail is None
        assert judged(issuer, email="ada@acme.example", email_verified="true").mail is None
        assert judged(issuer, email="ada@acme.example", email_verified=True).mail == "ada@acme.example"
        assert judged(issuer, token_use=None, aud=[CLIENT]).subject == "ada"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"aud": None}, {"aud": [CLIENT, "another"]},
        {"token_use": "access"}, {"iss": "https://login.example.com"}, {"exp": 1}, {"exp": None}, {"iat": None},
        {"sub": None}, {"iat": T0 // 1000 + 3_600},
    ],
)  # fmt: skip
def test_an_id_token_of_another_sign_in_client_or_time_is_nobodys(claims: dict[str, Any]) -> None:
    with issuing() as issuer, pytest.raises(Unauthenticated):
        judged(issuer, **claims)


def test_an_id_token_by_another_key_is_nobodys() -> None:
    with issuing() as issuer, issuing() as other, pytest.raises(Unauthenticated):
        issuer.rotate()
        token = other.token({"kid": issuer.kid}, iss=issuer.url, aud=CLIENT, token_use="id", nonce=NONCE)
        Verifier(issuer).tokens.signed_in(token, Configured(issuer.url), CLIENT, NONCE, T0)


def test_where_the_issuers_page_is_is_asked_once_in_a_while_and_believed_for_a_day() -> None:
    answers = [b"{}"]
    with servers.serving(lambda _, wire: wire.send(whole(answers[0]))) as server:
        where = KnownEndpoints(server.root, Egress([server.root]))
        for now_ms in (T0, T0 + PAUSE_MS - 1):
            with pytest.raises(NoCapacity):
                where(now_ms)
        assert len(server.requests) == 1
        endpoints = f'"authorization_endpoint":"{server.root}/a","token_endpoint":"{server.root}/t"'
        good = f'{{"issuer":"{server.root}",{endpoints}}}'
        answers[0] = good.encode()
        now_ms = T0 + PAUSE_MS
        assert [where(now_ms).token_endpoint for _ in range(3)] == [f"{server.root}/t"] * 3
        assert len(server.requests) == 2
        answers[0] = good.replace(f"{server.root}/t", "https://169.254.169.254/t").encode()
        assert where(now_ms + FRESH_MS).token_endpoint == f"{server.root}/t"
        with pytest.raises(NoCapacity):
            where(now_ms + STALE_MS)
