"""The keys of issuers: kept, renewed, followed; and hardly asked for. Against a real issuer over HTTP."""

import base64
from typing import Any

import pytest

from chalicelib.egress import Egress
from chalicelib.identity.tokens.discovery import Discovery
from chalicelib.identity.tokens.keysets import FRESH_MS, PAUSE_MS, SOUGHT_MS, STALE_MS, KeySets
from chalicelib.identity.tokens.verified import Tokens
from chalicelib.refusal import NoCapacity, Unauthenticated
from chalicelib.tenancy.tenant import Issuer as Configured
from tests.engines import servers
from tests.engines.servers import whole
from tests.issuer import (
    AUDIENCE,
    Issuer,
    Verifier,
    issuing,
    part,
)
from tests.small_deployments import T0

NOW_S = T0 // 1_000
HOUR_MS = 3_600_000


def test_a_verified_token_costs_no_signature_more_and_no_network(issuer: Issuer, verify: Verifier) -> None:
    text = issuer.token()
    first = verify(text)
    assert verify(text) is first
    assert issuer.fetches == 1


def test_a_verified_token_is_judged_by_how_its_issuer_is_configured_now(issuer: Issuer, verify: Verifier) -> None:
    text = issuer.token()
    verify(text)
    verify.configured = Configured(issuer.url, audiences=("https://other.example",))
    assert verify.refuses(text)
    with pytest.raises(Unauthenticated):
        verify.tokens.verified(text, [], T0)


def test_a_thousand_unknown_keys_cost_one_fetch_in_half_a_minute(issuer: Issuer, verify: Verifier) -> None:
    for number in range(1_000):
        assert verify.refuses(issuer.token({"kid": f"unknown-{number}"}), T0 + number)
    assert issuer.fetches == 1
    verify(issuer.token(), T0 + SOUGHT_MS - 1)
    assert verify.refuses(issuer.token({"kid": "unknown-x"}), T0 + SOUGHT_MS - 1)
    assert issuer.fetches == 1
    assert verify.refuses(issuer.token({"kid": "unknown-x"}), T0 + SOUGHT_MS)
    assert issuer.fetches == 2


def test_an_unknown_key_is_not_looked_for_again(issuer: Issuer, verify: Verifier) -> None:
    for turn in range(5):
        assert verify.refuses(issuer.token({"kid": "gone"}), T0 + turn * SOUGHT_MS)
    assert issuer.fetches == 1


def test_a_claim_that_is_wrong_costs_no_fetch(issuer: Issuer, verify: Verifier) -> None:
    assert verify.refuses(issuer.token({"kid": "unknown"}, aud="https://other.example"))
    assert issuer.server.requests == []


def test_an_issuer_that_rotates_is_followed_at_once(issuer: Issuer, verify: Verifier) -> None:
    old = issuer.token()
    verify(old)
    issuer.rotate("ES256")
    for _ in range(3):
        assert verify(issuer.token()).subject == "ada"
        assert verify(old).subject == "ada"
    assert issuer.fetches == 2


def test_a_key_that_is_served_no_more_verifies_no_more(issuer: Issuer, verify: Verifier) -> None:
    old = issuer.token(exp=NOW_S + 86_400)
    verify(old)
    issuer.rotate(keep=False)
    assert verify(issuer.token()).subject == "ada"  # which has the keys read
    assert verify.refuses(old, T0 + 1)
    assert verify.refuses(old, T0 + HOUR_MS)


def test_keys_are_renewed_aside_and_nobody_waits_for_it(issuer: Issuer, verify: Verifier) -> None:
    text = issuer.token(exp=NOW_S + 86_400)
    verify(text)
    for now_ms in (T0 + FRESH_MS - 1, T0 + FRESH_MS, T0 + FRESH_MS + 1):
        verify(text, now_ms)
    assert (issuer.fetches, len(verify.aside)) == (1, 1)
    issuer.rotate(keep=False)
    verify.renew()
    assert issuer.fetches == 2
    assert verify.refuses(text, T0 + FRESH_MS + 2)


def test_an_issuer_that_does_not_answer_is_believed_for_a_day(issuer: Issuer, verify: Verifier) -> None:
    text = issuer.token(exp=NOW_S + 200_000)
    verify(text)
    issuer.failing = 503
    for now_ms in range(T0, T0 + STALE_MS, HOUR_MS):
        assert verify(text, now_ms).subject == "ada"
        verify.renew()
    with pytest.raises(NoCapacity) as refused:
        verify(text, T0 + STALE_MS)
    assert refused.value.retry_in_ms
    issuer.failing = 0
    assert verify(text, T0 + STALE_MS + PAUSE_MS).subject == "ada"


def test_while_an_issuer_does_not_answer_nobody_says_that_it_has_no_such_key(issuer: Issuer, verify: Verifier) -> None:
    verify(issuer.token())
    issuer.failing = 500
    issuer.rotate()
    for later_ms in (0, 1):
        with pytest.raises(NoCapacity):
            verify(issuer.token(), T0 + later_ms)
    issuer.failing = 0
    assert verify(issuer.token(), T0 + SOUGHT_MS).subject == "ada"


def test_an_issuer_that_never_answered_is_tried_again_soon_but_not_by_everybody(
    issuer: Issuer, verify: Verifier
) -> None:
    issuer.failing = 500
    for number in range(20):
        with pytest.raises(NoCapacity):
            verify(issuer.token(), T0 + number)
    assert len(issuer.server.requests) == 1
    issuer.failing = 0
    assert verify(issuer.token(), T0 + PAUSE_MS).subject == "ada"


def test_what_is_remembered_asks_nobody(issuer: Issuer, verify: Verifier) -> None:
    text, configured = issuer.token(), [verify.configured]
    with pytest.raises(Unauthenticated):
        verify.tokens.remembered(text, configured, T0)
    assert issuer.server.requests == []
    verify(text)
    assert verify.tokens.remembered(text, configured, T0).subject == "ada"
    for issuers, now_ms in (([], T0), (configured, T0 + 2 * HOUR_MS), (configured, T0 + STALE_MS)):
        with pytest.raises(Unauthenticated):
            verify.tokens.remembered(text, issuers, now_ms)


def test_the_operators_issuer_is_everybodys(issuer: Issuer, verify: Verifier) -> None:
    tokens = Tokens(verify.keysets, [verify.configured])
    assert tokens.verified(issuer.token(), [], T0).subject == "ada"


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"secret" * 8).decode()},
        {"use": "enc"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"n": part(b"\xff" * 128)},  # 1,024 bits
        {"n": part(b"\xff" * 2_000)},
        {"e": part(b"\xff" * 200)},
        {"n": "%"},
        {"n": 1},
        {"kid": ""},
    ],
    ids=str,
)
def test_a_key_that_must_not_be_used_is_passed_over(issuer: Issuer, verify: Verifier, key: dict[str, Any]) -> None:
    issuer.members = key
    assert verify.refuses(issuer.token())
    assert issuer.fetches == 1


@pytest.mark.parametrize("document", [b"", b"[]", b'{"keys":1}', b'{"keys":[', b"{}", b"a" * 200_000])
def test_what_is_no_key_set_is_a_fault_of_the_issuer(document: bytes) -> None:
    with issuing() as issuer, servers.serving(servers.always(whole(document))) as keys:
        issuer.jwks_uri = keys.root
        tokens = Tokens(KeySets(Discovery(Egress([issuer.url, keys.root])), lambda _: None))
        with pytest.raises(NoCapacity):
            tokens.verified(issuer.token(), [Configured(issuer.url, (AUDIENCE,))], T0)


def test_a_configuration_of_another_issuer_is_not_believed(issuer: Issuer, verify: Verifier) -> None:
    issuer.says_it_is = "https://issuer.example"
    with pytest.raises(NoCapacity):
        verify(issuer.token())
    assert issuer.fetches == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::ffff:127.0.0.1]", "2130706433"])
def test_keys_are_fetched_from_no_address_inside(issuer: Issuer, verify: Verifier, host: str) -> None:
    """Wherever its configuration says that they are: only its own origin was named by somebody."""
    with servers.serving(servers.always(whole(b'{"keys":[]}'))) as metadata:
        for scheme in ("http", "https"):
            issuer.jwks_uri = f"{scheme}://{host}:{metadata.port}/latest/meta-data/"
            with pytest.raises(NoCapacity):
                verify(issuer.token(), T0 + (PAUSE_MS if scheme == "https" else 0))
        assert metadata.connections == 0


def test_no_more_tokens_are_remembered_than_there_is_room_for(issuer: Issuer, verify: Verifier) -> None:
    configured = [verify.configured]
    tokens = Tokens(verify.keysets, configured, most=2)
    texts = [issuer.token(jti=str(number)) for number in range(3)]
    for text in texts:
        tokens.verified(text, [], T0)
    with pytest.raises(Unauthenticated):
        tokens.remembered(texts[0], [], T0)
    assert [tokens.remembered(text, [], T0).subject for text in texts[1:]] == ["ada", "ada"]
