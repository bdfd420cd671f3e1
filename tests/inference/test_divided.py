"""A tenant that has several meters, from its API keys to its ledger."""

import pytest

from chalicelib import wiring
from chalicelib.admission.limits import Budget, Limits, Rate
from chalicelib.inference import run
from chalicelib.inference.idempotency import claim
from chalicelib.refusal import Conflict, TooLarge, Unauthenticated
from chalicelib.tenancy import Change
from tests.inference.acme import ask
from tests.small_deployments import Deployment, front, served

LIMITS = Limits(
    rates=(Rate("pace", "requests", 100, 1_000, 1_000),),
    budgets=(Budget("month", "tokens", 10**7, "month"),),
    in_flight=80,
)


def divided() -> tuple[Deployment, str]:
    deployment = Deployment()
    deployment.pool("model-a", "a")
    deployment.tenant("acme", limits=LIMITS)
    book = deployment.store.keeping.book("acme")
    assert book is not None
    assert book.shards == 4
    return deployment, deployment.key("acme")


def test_its_requests_run_and_its_usage_is_of_all_meters() -> None:
    deployment, key = divided()
    paths = [deployment.path() for _ in range(3)]
    for turn in range(30):
        deployment.ask(paths[turn % 3], key)
    held = [run(ask(key), paths[turn % 3]) for turn in range(12)]
    assert len({answer.lease.meter for answer in held}) > 1
    assert {answer.lease.tenant for answer in held} == {"acme"}
    with served(front()) as gateway, wiring.opening_into(deployment.rooms()):
        usage = gateway.call("GET", "/tenants/acme/usage", key=key).json
        assert usage["in_flight"] == 12
        assert usage["in_flight_limit"] == 80
        (pace, month) = usage["limits"]
        assert (pace["quota"], month["quota"]) == (1_000, 10**7)
        spent = sum(entry.charged.tokens for entry in deployment.store.ledger.page("acme", 0, 2**49, None, 100).entries)
        reserved = sum(answer.lease.reserved.tokens for answer in held)
        assert month["remaining"] == 10**7 - spent - reserved
    for answer in held:
        answer.close()
    page = deployment.store.ledger.page("acme", 0, 2**49, None, 100).entries
    assert len(page) == 42
    assert len({entry.lease_id for entry in page}) == 42


def test_a_revoked_key_is_refused_by_every_gateway_at_once() -> None:
    deployment, other = divided()
    revoked, token = deployment.tenancy.create_key("acme", "owner")
    key = token.text
    paths = [deployment.path() for _ in range(4)]
    for path in paths:
        deployment.ask(path, key)
    deployment.tenancy.revoke_key("acme", revoked.id)
    for path in paths:
        with pytest.raises(Unauthenticated):
            deployment.ask(path, key)
        deployment.ask(path, other)


def test_a_running_request_is_found_by_its_idempotency_key_whichever_meter_has_it() -> None:
    deployment, key = divided()
    path = deployment.path()
    held = [run(ask(key), path) for _ in range(14)]
    assert len({answer.lease.meter for answer in held}) > 1
    for number, answer in enumerate(held):
        claim(f"key-{number}", answer.lease, path)
        with pytest.raises(Conflict, match="still running"):
            claim(f"key-{number}", held[number - 1].lease, path)
    for answer in held:
        answer.close()


def test_its_limits_change_with_requests_in_flight_and_it_has_one_meter_again_when_the_month_has_turned() -> None:
    deployment, key = divided()
    path = deployment.path()
    held = [run(ask(key), path) for _ in range(20)]
    one = Limits(LIMITS.rates, (Budget("month", "tokens", 10**7, "month"),), 8)
    deployment.tenancy.change_tenant("acme", Change(limits=one))
    for answer in held:
        answer.close()
    deployment.clock.now_ms += 20_000
    deployment.ask(path, key)
    deployment.clock.now_ms += 40 * 86_400_000
    deployment.ask(path, key)
    meter = deployment.store.meters.reading("acme")
    assert meter is not None
    assert meter.epoch > 0
    deployment.tenancy.change_tenant("acme", Change(limits=Limits((), (Budget("day", "tokens", 0, "day"),), 8)))
    with pytest.raises(TooLarge):
        deployment.ask(path, key)
