"""Tokens: whatever is wrong with one, it is refused, in one text. Against a real issuer over HTTP."""

import json
from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from chalicelib.identity.claims import Claims
from chalicelib.identity.tokens.form import MOST_BYTES, form_of
from chalicelib.identity.tokens.judging import LEEWAY_S
from chalicelib.refusal import Unauthenticated
from tests import rsa_keys
from tests.issuer import (
    AUDIENCE,
    CLIENT,
    Algorithm,
    Issuer,
    Verifier,
    issuing,
    part,
    signed,
    signed_with_the_public_key,
)
from tests.small_deployments import T0

NOW_S = T0 // 1_000
HOUR_MS = 3_600_000


def test_a_good_token_says_who(issuer: Issuer, verify: Verifier) -> None:
    assert verify(issuer.token()) == Claims(issuer.url, "ada", T0 + HOUR_MS, T0)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("named", [True, False])
def test_the_key_says_by_which_algorithm_it_signs(issuer: Issuer, algorithm: Algorithm, named: bool) -> None:
    issuer.rotate(algorithm, keep=False)
    issuer.members = {"alg": algorithm} if named else {}
    if algorithm == "PS256" and not named:
        assert Verifier(issuer).refuses(issuer.token())  # a key of RSA without a name signs by RS256
    else:
        assert Verifier(issuer)(issuer.token()).subject == "ada"


# Header, then claims, each beside a good one's.
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no exp": ({}, {"exp": None}),
    "expired": ({}, {"exp": NOW_S - LEEWAY_S}),
    "exp is text": ({}, {"exp": str(NOW_S + 60)}),
    "exp is true": ({}, {"exp": True}),
    "exp is without end": ({}, {"exp": 1e300}),
    "exp is null": ({}, {"exp": [None]}),
    "no iat": ({}, {"iat": None}),
    "made later": ({}, {"iat": NOW_S + LEEWAY_S + 1}),
    "not yet": ({}, {"nbf": NOW_S + LEEWAY_S + 1}),
    "no iss": ({}, {"iss": None}),
    "another iss": ({}, {"iss": "https://issuer.example"}),
    "iss with a slash": ({}, {"iss": "{url}/"}),
    "iss is a list": ({}, {"iss": ["{url}"]}),
    "no sub": ({}, {"sub": None}),
    "sub is a number": ({}, {"sub": 1}),
    "sub is empty": ({}, {"sub": ""}),
    "sub is long": ({}, {"sub": "a" * 256}),
    "another aud": ({}, {"aud": "https://other.example"}),
    "others' auds": ({}, {"aud": ["https://other.example", CLIENT]}),
    "aud is null": ({}, {"aud": [None]}),
    "aud is empty": ({}, {"aud": []}),
    "another client": ({}, {"client_id": "client-of-theirs"}),
    "no client": ({}, {"client_id": None}),
    "another azp": ({}, {"client_id": None, "azp": "client-of-theirs"}),
    "an ID token": ({}, {"token_use": "id"}),
    "a refresh token": ({}, {"token_use": "refresh"}),
    "crit": ({"crit": ["exp"]}, {}),
    "crit of nothing": ({"crit": []}, {}),
    "unencoded payload": ({"b64": False, "crit": ["b64"]}, {}),
    "nested": ({"cty": "JWT"}, {}),
    "a logout token": ({"typ": "logout+jwt"}, {}),
    "typ is a number": ({"typ": 1}, {}),
    "no kid": ({"kid": None}, {}),
    "kid is empty": ({"kid": ""}, {}),
    "kid is a number": ({"kid": 1}, {}),
    "kid of 10 KB": ({"kid": "k" * 10_240}, {}),
    "kid of 257 B": ({"kid": "k" * 257}, {}),
    "kid is a path": ({"kid": "../../../../dev/null"}, {}),
    "alg is a list": ({"alg": "none", "kid": ["none"]}, {}),
    "100 KB": ({}, {"more": "a" * 100_000}),
}


@pytest.mark.parametrize(("header", "claims"), WRONG.values(), ids=WRONG)
def test_a_token_that_is_wrong_is_refused_in_one_text(
    issuer: Issuer, verify: Verifier, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    here = json.loads(json.dumps(claims).replace("{url}", issuer.url))
    assert verify.refuses(issuer.token(header, **here))
    assert issuer.fetches <= 1
    assert verify(issuer.token()).subject == "ada", "and takes nothing from those who have a good one"


def test_a_token_without_a_signature_is_refused(issuer: Issuer, verify: Verifier) -> None:
    head, claims, signature = issuer.token().split(".")
    none = part(json.dumps({"alg": "none", "kid": issuer.kid}).encode())
    for text in (f"{none}.{claims}.", f"{none}.{claims}.{signature}", f"{head}.{claims}.", f"{head}.{claims}"):
        assert verify.refuses(text)


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(issuer: Issuer, verify: Verifier) -> None:
    assert verify.refuses(signed_with_the_public_key(issuer))


def test_a_key_of_another_kind_does_not_verify_under_its_name(issuer: Issuer, verify: Verifier) -> None:
    for algorithm in ("RS384", "PS256"):
        assert verify.refuses(issuer.token({"alg": algorithm}))
    assert verify.refuses(issuer.token({"alg": "RS256"}, RSAKey.import_key(rsa_keys.another())))


def test_another_pools_token_is_refused_though_its_key_has_the_same_name(issuer: Issuer, verify: Verifier) -> None:
    with issuing() as other:
        assert other.kid == issuer.kid
        assert verify.refuses(other.token())
        assert verify.refuses(other.token(iss=issuer.url))


def test_what_the_header_brings_along_is_not_looked_at(issuer: Issuer, verify: Verifier) -> None:
    with issuing() as other:
        own = other.keys[other.kid]
        brought = {"jku": other.jwks_uri, "x5u": other.jwks_uri, "jwk": own.as_dict(private=False)}
        assert verify.refuses(signed({"alg": "RS256", "kid": other.kid, **brought}, issuer.good, own))
        assert other.server.requests == []


@pytest.mark.parametrize("twice", ['"sub":"eve"', '"exp":9999999999', '"iss":"https://issuer.example"'])
def test_a_member_that_is_there_twice_is_refused(issuer: Issuer, verify: Verifier, twice: str) -> None:
    claims = json.dumps(issuer.good).encode()
    header = {"alg": "RS256", "kid": issuer.kid}
    assert verify.refuses(signed(header, b"{" + twice.encode() + b"," + claims[1:], issuer.keys[issuer.kid]))
    deep = claims[:-1] + b',"more":{"a":1,"a":2}}'
    assert verify.refuses(signed(header, deep, issuer.keys[issuer.kid]))


@pytest.mark.parametrize(
    "claims", [b"[]", b"1", b'{"exp":NaN}', b'{"a":' + b"[" * 3_000, b"\xff", b'{"a":' + b"9" * 5_000]
)
def test_claims_that_are_no_object_are_refused(issuer: Issuer, verify: Verifier, claims: bytes) -> None:
    for payload in (claims, b'{"' + claims):
        assert verify.refuses(signed({"alg": "RS256", "kid": issuer.kid}, payload, issuer.keys[issuer.kid]))


def test_a_token_that_was_changed_is_refused_though_it_was_good(issuer: Issuer, verify: Verifier) -> None:
    good = issuer.token()
    verify(good)
    head, _, signature = good.split(".")
    changed = part(json.dumps({**issuer.good, "sub": "eve"}).encode())
    assert verify.refuses(f"{head}.{changed}.{signature}")
    assert verify.refuses(good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8))


@given(st.text(max_size=200) | st.from_regex(r"\AeyJ[\w-]{0,40}\.eyJ[\w-]{0,40}\.[\w-]{1,40}\Z"))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        form = form_of(text)
    except Unauthenticated:
        return
    assert form.kid


def test_the_longest_token_is_taken_and_no_longer_one(issuer: Issuer, verify: Verifier) -> None:
    def of_length(length: int) -> str:
        fill = bisect_left(range(length), length, key=lambda size: len(issuer.token(more="a" * size)))
        return issuer.token(more="a" * fill)

    exact = next(text for text in map(of_length, range(MOST_BYTES, MOST_BYTES - 4, -1)) if len(text) <= MOST_BYTES)
    assert verify(exact).subject == "ada"
    assert verify.refuses(of_length(MOST_BYTES + 1))


# for whom, and who


@pytest.mark.parametrize(
    ("configured", "claims", "good"),
    [
        ({"audiences": (AUDIENCE,)}, {"client_id": None}, True),
        ({"audiences": (AUDIENCE,)}, {"aud": ["https://other.example", AUDIENCE], "client_id": "other"}, True),
        ({"audiences": (AUDIENCE,)}, {"aud": None}, False),
        ({"client_ids": (CLIENT,)}, {"aud": None}, True),  # Cognito's access tokens have none
        ({"client_ids": (CLIENT,)}, {"aud": None, "client_id": None, "azp": CLIENT}, True),
        ({"client_ids": (CLIENT,)}, {"aud": CLIENT}, False),  # what an ID token says
        ({"client_ids": (CLIENT,)}, {"aud": None, "token_use": None}, True),
        ({"audiences": (AUDIENCE,), "client_ids": ("other",)}, {}, False),
        ({"scopes": ("ours/api",)}, {"aud": None, "scope": "openid ours/api"}, True),  # a machine's, at Cognito
        ({"scopes": ("ours/api",), "client_ids": ("other",)}, {"aud": None, "scope": "ours/api"}, True),
        ({"scopes": ("ours/api",), "client_ids": (CLIENT,)}, {"aud": None, "scope": "openid"}, True),
        (
            {"scopes": ("ours/api",), "client_ids": ("other",)},
            {"aud": None, "scope": "ours/api2 theirs/ours/api"},
            False,
        ),
        ({"scopes": ("ours/api",)}, {"aud": None, "scope": ["ours/api"]}, False),
        ({"scopes": ("ours/api",)}, {"aud": AUDIENCE, "scope": "ours/api"}, False),  # it says for whom it is
        ({"scopes": ("ours/api",), "audiences": (AUDIENCE,)}, {"scope": "openid"}, False),
    ],
)
def test_a_token_is_for_us_as_its_issuer_is_configured(
    issuer: Issuer, configured: dict[str, Any], claims: dict[str, Any], good: bool
) -> None:
    verify, text = Verifier(issuer, **configured), issuer.token(**claims)
    assert verify(text).subject == "ada" if good else verify.refuses(text)


def test_the_subject_is_the_claim_that_names_it(issuer: Issuer) -> None:
    verify = Verifier(issuer, audiences=(AUDIENCE,), subject_claim="oid")
    assert verify(issuer.token(oid="ada-of-entra")).subject == "ada-of-entra"
    assert verify.refuses(issuer.token())


@pytest.mark.parametrize("verified", [None, False, "true", 1])
def test_a_mail_address_names_nobody_before_it_was_verified(issuer: Issuer, verified: Any) -> None:
    verify = Verifier(issuer, audiences=(AUDIENCE,), subject_claim="email")
    assert verify.refuses(issuer.token(email="ada@example.com", email_verified=verified))
    assert verify(issuer.token(email="ada@example.com", email_verified=True)).subject == "ada@example.com"


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff", "admins"], "owner"),
        (["staff"], "developer"),
        ("staff", "developer"),
        (["other"], None),
        (None, None),
        ([1], None),
    ],
)
def test_groups_are_mapped_to_the_role_that_may_do_most(issuer: Issuer, groups: Any, role: str | None) -> None:
    mapped = {"staff": "developer", "admins": "owner"}
    verify = Verifier(issuer, audiences=(AUDIENCE,), groups_claim="groups", roles=mapped)
    assert verify(issuer.token(groups=groups)).role == role
    assert Verifier(issuer)(issuer.token(groups=["admins"])).role is None


# times


def test_clocks_may_differ_by_a_minute(issuer: Issuer, verify: Verifier) -> None:
    text = issuer.token(exp=NOW_S - LEEWAY_S + 1, iat=NOW_S + LEEWAY_S, nbf=NOW_S + LEEWAY_S)
    assert verify(text).expires_ms == T0 - (LEEWAY_S - 1) * 1_000


def test_a_token_that_was_good_is_refused_when_it_has_ended(issuer: Issuer, verify: Verifier) -> None:
    text, ends_ms = issuer.token(), T0 + HOUR_MS + LEEWAY_S * 1_000
    for now_ms in (T0, ends_ms - 1):
        assert verify(text, now_ms).subject == "ada"
    assert verify.refuses(text, ends_ms)
