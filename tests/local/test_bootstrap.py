"""A start that finds what an earlier one has made."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chalicelib.pool import OpenAICompatible, Pool
from local.bootstrap import OWNER, PEOPLE, TENANT, VIEWER, Keys, invited, move, read, still_good
from tests.emulators.cognito.served import Served, UserPool, served
from tests.small_deployments import Deployment


@pytest.fixture
def there() -> Deployment:
    made = Deployment()
    made.tenant("acme")
    return made


def test_without_an_earlier_start_there_is_nothing_to_find(tmp_path: Path) -> None:
    assert read(tmp_path / "demo.json") is None


def test_the_key_of_the_last_start_stays(there: Deployment) -> None:
    _, token = there.tenancy.create_key("acme", "owner")
    assert still_good(token.text, there.tenancy, "acme", "local demo") == token.text


def test_a_key_that_was_revoked_is_replaced(there: Deployment) -> None:
    key, token = there.tenancy.create_key("acme", "owner")
    there.tenancy.revoke_key("acme", key.id)
    fresh = still_good(token.text, there.tenancy, "acme", "local demo")

    assert fresh != token.text
    assert still_good(fresh, there.tenancy, "acme", "local demo") == fresh


@pytest.mark.parametrize("text", [None, "", "no key", "ck_acme.abcdefgh_" + "x" * 43])
def test_a_key_that_nobody_knows_is_replaced(there: Deployment, text: str | None) -> None:
    assert still_good(text, there.tenancy, "acme", "local demo") != text


def test_pools_follow_a_container_to_where_it_is_now(there: Deployment) -> None:
    def pool(name: str, url: str, capacity: int) -> Pool:
        return Pool(name, (OpenAICompatible("t", "m", capacity=capacity, url=url),))

    there.tenancy.put_pool(pool("ours", "http://127.0.0.1:1001/v1", 7))  # its capacity was changed by somebody
    there.tenancy.put_pool(pool("theirs", "http://10.0.0.1:1001/v1", 1))
    there.tenancy.put_pool(pool("longer", "http://127.0.0.1:10011/v1", 1))

    move(there.tenancy, {"demo": "http://127.0.0.1:1001", "gone": "x"}, {"demo": "http://127.0.0.1:2002", "new": "y"})

    reached = {held.name: held.targets[0] for held in there.tenancy.pools()}
    assert reached["ours"] == OpenAICompatible("t", "m", capacity=7, url="http://127.0.0.1:2002/v1")
    assert isinstance(reached["theirs"], OpenAICompatible) and reached["theirs"].url == "http://10.0.0.1:1001/v1"
    assert isinstance(reached["longer"], OpenAICompatible) and reached["longer"].url == "http://127.0.0.1:10011/v1"


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = Keys("ck_a", "ck_b", {"demo": "http://127.0.0.1:1"})
    (tmp_path / "demo.json").write_bytes(msgspec.json.encode(kept))
    assert read(tmp_path / "demo.json") == kept


@pytest.fixture(scope="module")
def cognito() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def demo(there: Deployment) -> Deployment:
    there.tenant(TENANT)
    return there


def test_the_demo_tenants_people_sign_in_and_are_its_members(demo: Deployment, cognito: Served) -> None:
    pool = UserPool(cognito)
    passwords = invited(demo.tenancy, cognito.operator, pool.issuer, {})

    subs = {mail: pool.claims(pool.tokens(mail=mail, password=passwords[mail])["IdToken"])["sub"] for mail in PEOPLE}
    known = {each.subject: (each.issuer, each.sub, each.role) for each in demo.tenancy.people.members(TENANT)}
    assert known == {mail: (pool.issuer, subs[mail], role) for mail, role in PEOPLE.items()}


def test_people_keep_their_passwords_and_are_invited_once(demo: Deployment, cognito: Served) -> None:
    pool = UserPool(cognito)
    first = invited(demo.tenancy, cognito.operator, pool.issuer, {})
    demo.tenancy.people.remove(TENANT, VIEWER)
    cognito.operator.admin_set_user_password(
        UserPoolId=pool.id, Username=OWNER, Password="Another-1234", Permanent=True
    )

    assert invited(demo.tenancy, cognito.operator, pool.issuer, first) == first
    assert pool.tokens(mail=OWNER, password=first[OWNER])
    assert [each.subject for each in demo.tenancy.people.members(TENANT)] == [OWNER]


def test_an_invitation_that_was_broken_off_is_completed(demo: Deployment, cognito: Served) -> None:
    pool = UserPool(cognito)
    for _ in range(2):  # the first time nothing came to be kept
        passwords = invited(demo.tenancy, cognito.operator, pool.issuer, {})
    assert pool.tokens(mail=VIEWER, password=passwords[VIEWER])
    assert {each.subject for each in demo.tenancy.people.members(TENANT)} == set(PEOPLE)
