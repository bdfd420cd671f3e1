"""Sets of budgets: a lease gives back where it reserved, whatever became of the limits since."""

from chalicelib.admission.limits import Budget
from chalicelib.admission.meter import Held, Meter
from chalicelib.admission.sets import First, Known, Named, of, unused
from tests.admission.arrange import MONTH, ROOMY, T0, entry, limits
from tests.admission.backing import Backing
from tests.admission.test_admission import Tenant

DAY = Budget("day", "tokens", 1_000_000, "day")
BOTH = (MONTH, DAY)
KEYS = ("month.tm", "day.td")


def meter(epoch: int, sets: dict[str, tuple[str, ...]] | None, *named: str) -> Meter:
    return Meter(epoch, {}, {}, {f"0{i}": Held(T0, T0, {}, name) for i, name in enumerate(named)}, sets)


def test_a_set_that_was_seen_under_the_same_epoch_is_there() -> None:
    assert of(BOTH, 5, meter(5, {"0": ("gone.tm",), "1": KEYS})) == Known("1")


def test_a_set_that_was_seen_under_another_epoch_is_looked_for() -> None:
    assert of(BOTH, 6, meter(5, {"0": KEYS})) == Named("0", KEYS)


def test_a_new_set_takes_a_free_name() -> None:
    assert of(BOTH, 5, None) == Named("0", KEYS)
    assert of(BOTH, 5, meter(5, {})) == Named("0", KEYS)
    assert of(BOTH, 5, meter(5, {"0": ("a.tm",), "2": ("b.tm",)})) == Named("1", KEYS)
    many: dict[str, tuple[str, ...]] = {"0123456789abcdefghijklmnopqrstuvwxyz"[i]: (f"b{i}.tm",) for i in range(36)}
    assert of(BOTH, 5, meter(5, many)) == Named("10", KEYS)


def test_a_meter_from_before_there_were_sets_gets_its_first() -> None:
    assert of(BOTH, 5, meter(5, None)) == First("0", KEYS)


def test_a_name_is_never_given_to_other_budgets() -> None:
    named = Named("0", KEYS)
    assert named.holds(meter(5, {}))
    assert named.holds(meter(5, {"0": KEYS}))
    assert not named.holds(meter(5, {"0": ("month.tm",)}))
    assert not named.holds(meter(5, None))


def test_a_set_is_dropped_when_no_lease_names_it() -> None:
    sets = {"0": ("a.tm",), "1": KEYS, "2": ("b.tm",)}
    assert unused(BOTH, meter(5, sets, "0", "1")) == ("2",)
    assert unused(BOTH, meter(5, sets)) == ("0", "2")
    assert unused(BOTH, meter(5, {"0": ("a.tm",)})) == ()


def test_a_budget_that_came_after_the_admission_gets_nothing_back(backing: Backing) -> None:
    acme = Tenant(backing, limits(ROOMY, MONTH))
    early = acme.admit(tokens=100)
    acme.limits, acme.epoch = limits(ROOMY, MONTH, DAY), backing.meters.bump("acme")
    late = acme.admit(tokens=50)
    acme.sandbox.settle(early, entry(early, tokens=1))
    assert (acme.used(), acme.used("day.td")) == (51, 50)
    acme.sandbox.settle(late, entry(late, tokens=2))
    assert (acme.used(), acme.used("day.td")) == (3, 2)


def test_whoever_finishes_a_dead_lease_gives_back_where_it_reserved(backing: Backing) -> None:
    acme = Tenant(backing, limits(ROOMY, MONTH))
    acme.admit(tokens=100)
    acme.limits, acme.epoch = limits(ROOMY, DAY), backing.meters.bump("acme")
    alive = acme.admit(tokens=50, at_ms=T0 + 60_000)
    assert backing.sandbox().reap(T0 + 100_000) == 1
    assert (acme.used(), acme.used("day.td")) == (0, 50)
    acme.sandbox.settle(alive, entry(alive, tokens=2))
    assert (acme.used(), acme.used("day.td")) == (0, 2)


def test_a_meter_keeps_no_set_that_nobody_needs(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    acme.sandbox.settle(lease := acme.admit(), entry(lease, tokens=1))
    for of_now in (limits(DAY), limits(), limits(MONTH, DAY)):
        acme.limits, acme.epoch = of_now, backing.meters.bump("acme")
        for _ in range(3):
            acme.sandbox.settle(lease := acme.admit(), entry(lease, tokens=1))
    found = backing.meters.reading("acme")
    assert found is not None
    assert list((found.sets or {}).values()) == [KEYS]
