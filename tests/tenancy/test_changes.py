"""Every change is true from the next request on, in a gateway that is warm and was told nothing.

And when whoever makes the change dies half-way, between the document and the epoch: no warm gateway has heard of it
then, every cold one has, and repeating the change completes it.
"""

from collections.abc import Callable

import msgspec
import pytest

from chalicelib.admission import Epochs
from chalicelib.admission.limits import SLACK_MS, Budget, Limits, Rate
from chalicelib.documents.store import DynamoDocuments
from chalicelib.inference import Path
from chalicelib.pool import Pool, Scripted
from chalicelib.refusal import (
    Conflict,
    Forbidden,
    NoCapacity,
    NotFound,
    QuotaExhausted,
    RateLimited,
    Refusal,
    StoreUnavailable,
    Unauthenticated,
)
from chalicelib.tenancy import Change, Tenancy
from chalicelib.tenancy.key_text import parse
from tests.fault_proxy import Fault, fault_proxy
from tests.small_deployments import Deployment, Store, dynamodb
from tests.stores import Served, fresh_tables, prefix_of, reach_tables


def calls(most: int) -> Limits:
    """So many requests a month."""
    return Limits(rates=(), budgets=(Budget("calls", "requests", most, "month"),), in_flight=8)


class Changing(msgspec.Struct, frozen=True):
    """One change, what the next request meets, and what the one who repeats the change is told."""

    name: str
    make: Callable[[Tenancy, str], object]
    then: str | type[Refusal]  # the target that answers, or the refusal
    again: type[Refusal] | None = None


CHANGES = [
    Changing("revoke", lambda tenancy, key: tenancy.revoke_key("acme", key), Unauthenticated),
    Changing("rotate", lambda tenancy, key: tenancy.rotate_key("acme", key, 0), Unauthenticated, again=Conflict),
    Changing("suspend", lambda tenancy, _: tenancy.change_tenant("acme", Change(status="suspended")), Forbidden),
    Changing("limits", lambda tenancy, _: tenancy.change_tenant("acme", Change(limits=calls(1))), QuotaExhausted),
    Changing("pin", lambda tenancy, _: tenancy.change_tenant("acme", Change(pins={"model-a": "b"})), "b"),
    Changing("pools", lambda tenancy, _: tenancy.change_tenant("acme", Change(pools=())), NotFound),
    Changing("pool replaced", lambda tenancy, _: tenancy.put_pool(Pool("model-a", (Scripted("c", url="c"),))), "c"),
    Changing("pool removed", lambda tenancy, _: tenancy.delete_pool("model-a"), NotFound, again=NotFound),
]


class DyingEpochs:
    """Epochs whose bumps never arrive."""

    def __init__(self, epochs: Epochs) -> None:
        self.open = epochs.open
        self.read = epochs.read

    def bump(self, tenant: str) -> int:
        raise StoreUnavailable("planned")


def met(deployment: Deployment, path: Path, key: str) -> str | type[Refusal]:
    try:
        return deployment.ask(path, key)
    except Refusal as refusal:
        return type(refusal)


@pytest.fixture
def there(store: Store) -> Deployment:
    return deployed(store)


def deployed(store: Store) -> Deployment:
    deployment = Deployment(store)
    deployment.pool("model-a", "a", "b")
    deployment.tenant("acme", limits=calls(100))
    return deployment


@pytest.mark.parametrize("changing", CHANGES, ids=lambda changing: changing.name)
def test_a_change_is_seen_by_the_next_request_everywhere(there: Deployment, changing: Changing) -> None:
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) == "a"
    changing.make(there.tenancy, key_id(key))
    assert met(there, warm, key) == changing.then


@pytest.mark.parametrize("changing", CHANGES, ids=lambda changing: changing.name)
def test_a_change_that_died_half_way_is_completed_by_repeating_it(there: Deployment, changing: Changing) -> None:
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) == "a"
    dying = Tenancy(there.store.documents, DyingEpochs(there.store.meters), there.clock, there.chance)
    with pytest.raises(StoreUnavailable):
        changing.make(dying, key_id(key))
    assert met(there, warm, key) == "a", "a warm gateway cannot know"
    assert met(there, there.path(), key) == changing.then, "a cold one reads what was written"
    try:
        changing.make(there.tenancy, key_id(key))
    except Refusal as told:
        assert type(told) is changing.again
    else:
        assert changing.again is None
    assert met(there, warm, key) == changing.then


@pytest.mark.parametrize("changing", CHANGES, ids=lambda changing: changing.name)
def test_a_change_whose_answer_was_lost_counts_all_the_same(stores: Served, changing: Changing) -> None:
    """The write lands, its answer does not come, and its repetition meets the version that it made itself."""
    tables = fresh_tables(stores.url("local"))
    there = deployed(dynamodb(tables))
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) == "a"
    with fault_proxy(stores.url("local")) as (proxy, through):
        shaky = DynamoDocuments(reach_tables(through, prefix_of(tables)))
        tenancy = Tenancy(shaky, there.store.meters, there.clock, there.chance)
        proxy.plan(Fault.NONE, *([Fault.NONE] * 3 if changing.name == "rotate" else []), Fault.LOST)
        with pytest.raises(Conflict):
            changing.make(tenancy, key_id(key))
    assert met(there, warm, key) == changing.then


def test_a_tenant_hears_nothing_of_anothers_change(there: Deployment) -> None:
    there.tenant("bolt")
    key, other = there.key("acme"), there.key("bolt")
    warm = there.path()
    assert met(there, warm, key) == met(there, warm, other) == "a"
    there.tenancy.change_tenant("acme", Change(status="suspended"))
    assert met(there, warm, other) == "a"


def test_what_is_given_back_is_usable_at_once_by_a_gateway_that_had_refused_it(there: Deployment) -> None:
    there.tenancy.change_tenant("acme", Change(status="suspended"))
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) is Forbidden
    there.tenancy.change_tenant("acme", Change(status="active"))
    assert met(there, warm, key) == "a"


def test_a_new_key_is_known_to_a_gateway_that_was_warm_before(there: Deployment) -> None:
    warm = there.path()
    assert met(there, warm, there.key()) == "a"
    assert met(there, warm, there.key(role="developer")) == "a"


def test_a_pool_that_one_pin_names_but_does_not_have_is_no_capacity_and_not_another_target(there: Deployment) -> None:
    there.tenancy.change_tenant("acme", Change(pins={"model-a": "elsewhere"}))
    assert met(there, there.path(), there.key()) is NoCapacity


def test_a_rotated_key_is_valid_until_its_grace_ends_and_not_a_millisecond_longer(there: Deployment) -> None:
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) == "a"
    _, token = there.tenancy.rotate_key("acme", key_id(key), grace_ms=60_000)
    there.clock.now_ms += 59_999
    assert (met(there, warm, key), met(there, warm, token.text)) == ("a", "a")
    there.clock.now_ms += 1
    assert (met(there, warm, key), met(there, warm, token.text)) == (Unauthenticated, "a")


def test_a_key_expires_in_a_warm_gateway_too(there: Deployment) -> None:
    key = there.key(expires_ms=there.clock() + 1_000)
    warm = there.path()
    there.clock.now_ms += 999
    assert met(there, warm, key) == "a"
    there.clock.now_ms += 1
    assert met(there, warm, key) is Unauthenticated


def test_a_limit_that_is_raised_lets_the_next_request_through(there: Deployment) -> None:
    there.tenancy.change_tenant("acme", Change(limits=calls(1)))
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) == "a"
    assert met(there, warm, key) is QuotaExhausted
    there.tenancy.change_tenant("acme", Change(limits=calls(2)))
    assert met(there, warm, key) == "a"


def test_a_rate_that_denied_and_is_then_raised_elsewhere_denies_for_one_second_more_at_most(there: Deployment) -> None:
    """The one exception, and it errs on the side of no: denials are remembered, or a flood would be one of writes."""
    slow = Rate("slow", "requests", 1, 60_000, 2)
    there.tenancy.change_tenant("acme", Change(limits=Limits((slow,), (), 8)))
    key = there.key()
    warm = there.path()
    assert met(there, warm, key) == "a"
    there.clock.now_ms += SLACK_MS
    assert [met(there, warm, key) for _ in range(2)] == ["a", RateLimited]
    there.tenancy.change_tenant("acme", Change(limits=Limits((), (), 8)))
    assert met(there, there.path(), key) == "a"
    there.clock.now_ms += 999
    assert met(there, warm, key) is RateLimited
    there.clock.now_ms += 1
    assert met(there, warm, key) == "a"


def key_id(text: str) -> str:
    token = parse(text)
    assert token is not None
    return token.key_id
