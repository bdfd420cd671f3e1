"""A start that finds what an earlier one has made."""

from pathlib import Path

import msgspec
import pytest

from chalicelib.pool import OpenAICompatible, Pool
from local.bootstrap import Keys, move, read, still_good
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
