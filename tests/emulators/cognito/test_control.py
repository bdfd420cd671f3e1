"""What a test may command of the local Cognito."""

import threading

import httpx
import pytest
from joserfc.errors import JoseError

from tests.emulators.cognito.served import UserPool, refused
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_authorities")


def keys_of(pool: UserPool) -> httpx.Response:
    return httpx.get(f"{pool.issuer}/.well-known/jwks.json", timeout=PATIENCE_S)


def test_after_a_rotation_former_tokens_are_still_verified_and_new_ones_have_other_keys(pool: UserPool) -> None:
    before = pool.tokens()["AccessToken"]
    known = {key["kid"] for key in keys_of(pool).json()["keys"]}
    pool.served.command("rotate", pool=pool.id)

    after = pool.tokens()["AccessToken"]
    assert pool.claims(before) and pool.claims(after)
    assert len({key["kid"] for key in keys_of(pool).json()["keys"]} - known) == 2


def test_withdrawn_keys_verify_nothing_any_more(pool: UserPool) -> None:
    before = pool.tokens()["AccessToken"]
    pool.served.command("rotate", pool=pool.id, withdraw=True)
    with pytest.raises(JoseError):
        pool.claims(before)
    assert pool.claims(pool.tokens()["AccessToken"])


def test_tokens_are_wrong_as_commanded_and_well_signed(pool: UserPool) -> None:
    pool.served.command("falsify", claims={"aud": "another"}, token_use="id")
    pool.served.command("falsify", claims={"client_id": "another", "exp": None}, token_use="access")
    wrong, right = pool.tokens(), pool.tokens()

    assert pool.claims(wrong["IdToken"])["aud"] == "another"
    assert pool.claims(wrong["AccessToken"])["client_id"] == "another" and "exp" not in pool.claims(
        wrong["AccessToken"]
    )
    assert pool.claims(right["IdToken"])["aud"] == pool.claims(right["AccessToken"])["client_id"] == pool.programs


def test_what_is_commanded_to_fail_fails_as_often(pool: UserPool) -> None:
    pool.served.command("fail", what="jwks", times=2)
    assert [keys_of(pool).status_code for _ in range(3)] == [503, 503, 200]
    pool.served.command("fail", what="InitiateAuth", status=400, error="TooManyRequestsException", message="Slow down")
    with refused("TooManyRequestsException", "Slow down"):
        pool.enter()
    assert pool.served.calls()[-4:] == ["jwks"] * 3 + ["InitiateAuth"]


def test_a_stall_holds_one_call_until_it_is_released_and_no_other(pool: UserPool) -> None:
    pool.served.command("stall", what="jwks")
    answers: list[int] = []
    held = threading.Thread(target=lambda: answers.append(keys_of(pool).status_code))
    held.start()
    until(lambda: "jwks" in pool.served.calls())
    assert pool.tokens() and answers == []

    pool.served.command("release")
    held.join(PATIENCE_S)
    assert answers == [200]


def test_a_command_that_is_none_is_refused(pool: UserPool) -> None:
    answer = httpx.post(f"{pool.served.url}/_cognito", json={"do": "dance"})
    assert answer.status_code == 400 and "Not a command" in answer.json()["message"]
