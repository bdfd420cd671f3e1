"""Key epochs: the newest is current while it lives."""

import pytest

from chalicelib.documents import PLATFORM
from chalicelib.refusal import Conflict
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.key_epochs import NAME, KeyEpoch
from tests.small_deployments import T0, Deployment, Store
from tests.tenancy.interleaving import Interrupted

FIRST = KeyEpoch("e-1", T0 + 1_000, b"\x00first")
SECOND = KeyEpoch("e-2", T0 + 2_000, b"\xffsecond")
SHORT = KeyEpoch("e-3", T0 + 500, b"short")


@pytest.fixture
def there(store: Store) -> Deployment:
    return Deployment(store)


def test_before_the_first_there_is_none(there: Deployment) -> None:
    assert there.tenancy.key_epochs.current() is None
    assert list(there.tenancy.key_epochs.living()) == []


def test_the_newest_is_current_and_older_ones_live_on(there: Deployment) -> None:
    there.tenancy.key_epochs.begin(FIRST)
    assert there.tenancy.key_epochs.current() == FIRST
    there.tenancy.key_epochs.begin(SECOND)
    assert there.tenancy.key_epochs.current() == SECOND
    assert list(there.tenancy.key_epochs.living()) == [SECOND, FIRST]


def test_an_epoch_that_expires_before_an_older_one_gives_its_place_back(there: Deployment) -> None:
    there.tenancy.key_epochs.begin(FIRST)
    there.tenancy.key_epochs.begin(SHORT)
    there.clock.now_ms = SHORT.expires_ms - 1
    assert there.tenancy.key_epochs.current() == SHORT
    there.clock.now_ms = SHORT.expires_ms
    assert there.tenancy.key_epochs.current() == FIRST
    there.clock.now_ms = FIRST.expires_ms
    assert there.tenancy.key_epochs.current() is None


def test_what_has_expired_is_forgotten(there: Deployment) -> None:
    there.tenancy.key_epochs.begin(FIRST)
    there.clock.now_ms = FIRST.expires_ms
    there.tenancy.key_epochs.begin(SECOND)
    held = there.store.documents.get(PLATFORM, NAME)
    assert held is not None and FIRST.epoch not in held.text


def test_of_two_beginnings_at_once_none_is_lost_unnoticed(there: Deployment) -> None:
    there.tenancy.key_epochs.begin(FIRST)
    documents = Interrupted(there.store.documents, 1, lambda: there.tenancy.key_epochs.begin(SECOND))
    late = Tenancy(documents, there.store.meters, there.clock, there.chance)
    with pytest.raises(Conflict):
        late.key_epochs.begin(SHORT)
    assert list(there.tenancy.key_epochs.living()) == [SECOND, FIRST]
