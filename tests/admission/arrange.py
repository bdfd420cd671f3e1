"""Builders that name only what matters, and strategies that build anything."""

from hypothesis import strategies as st

from chalicelib.admission import budgets, rates
from chalicelib.admission.decision import Reservation
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.meter import Held, Lease, Meter
from chalicelib.ledger import Entry, Outcome

T0 = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
REGION = "us-east-1"

ROOMY = Rate("roomy", "requests", 1_000, 1_000, 10_000)
MONTH = Budget("month", "tokens", 1_000_000, "month")


def limits(*each: Rate | Budget, in_flight: int = 8) -> Limits:
    return Limits(
        rates=tuple(limit for limit in each if isinstance(limit, Rate)),
        budgets=tuple(limit for limit in each if isinstance(limit, Budget)),
        in_flight=in_flight,
    )


def entry(
    lease: Lease,
    *,
    tokens: int,
    at_ms: int = T0,
    outcome: Outcome = "completed",
) -> Entry:
    used = Units(requests=1, tokens=tokens)
    return Entry(
        tenant=lease.tenant,
        lease_id=lease.lease_id,
        request_id=lease.lease_id,
        outcome=outcome,
        reason="",
        used=used,
        charged=used.at_most(lease.reserved),
        admitted_ms=lease.admitted_ms,
        settled_ms=at_ms,
        region=REGION,
    )


units = st.builds(Units, requests=st.just(1), tokens=st.integers(0, 50), micro_usd=st.integers(0, 5))


@st.composite
def some_limits(draw: st.DrawFn) -> Limits:
    """Small numbers, so that every limit bites now and then."""
    return Limits(
        rates=(
            Rate("req", "requests", draw(st.integers(1, 4)), 1_000, draw(st.integers(3, 9))),
            Rate("tok", "tokens", draw(st.integers(20, 90)), 1_000, draw(st.integers(60, 300))),
        )[: draw(st.sampled_from([0, 1, 2, 2]))],
        budgets=(
            Budget("hour", "tokens", draw(st.integers(40, 300)), "hour"),
            Budget("own", "micro_usd", draw(st.integers(4, 20)), "day", source="tenant"),
            Budget("soft", "requests", draw(st.integers(0, 5)), "minute", hard=False),
        )[: draw(st.integers(0, 3))],
        in_flight=draw(st.sampled_from([1, 2, 4, 8, 20])),
    )


@st.composite
def some_meters(draw: st.DrawFn, of: Limits, now_ms: int) -> Meter:
    """Any state that the meter of these limits may be in, and some that it may not."""
    now_us = now_ms * 1_000
    around_us = st.integers(now_us - 600_000, now_us + 8_000_000)
    tats = {rates.key(rate): draw(around_us) for rate in of.rates if draw(st.booleans())}
    windows = {}
    for budget in of.budgets:
        if draw(st.booleans()):
            at_ms = now_ms + draw(st.sampled_from([-90_000_000, -1_000, 0, 90_000_000]))
            windows[budgets.key(budget)] = (budgets.window_id(budget.window, at_ms), draw(st.integers(0, 320)))
    if draw(st.booleans()):
        tats["gone.r1/1000"] = draw(around_us)
        windows["gone.tm"] = (draw(st.sampled_from(["2026-10", "2026-11", "2026-12"])), 7)
    ours = tuple(budgets.key(budget) for budget in of.budgets)
    sets = draw(st.sampled_from([None, {}, {"0": ours}, {"0": ("gone.tm",)}, {"0": ("gone.tm",), "1": ours}]))
    leases = {
        f"0{i}": Held(now_ms + draw(st.integers(-5, 5)), now_ms - 10, {}, draw(st.sampled_from(sorted(sets or [""]))))
        for i in range(draw(st.integers(0, 5)) if sets != {} else 0)
    }
    plain = len(leases) if sets is None else draw(st.integers(0, len(leases)))
    return Meter(draw(st.integers(1, 2)), tats, windows, leases, sets, plain)


@st.composite
def asks_and_meters(draw: st.DrawFn) -> tuple[Reservation, Meter, Meter]:
    """A call, the meter as it is, and the meter as this sandbox last saw it."""
    of = draw(some_limits())
    now_ms = T0 + draw(st.integers(0, 10_000))
    lease_id = draw(st.sampled_from(["00", "0x"]))
    ask = Reservation("acme", draw(st.integers(1, 2)), of, draw(units), lease_id, now_ms, now_ms + 90_000)
    return ask, draw(some_meters(of, now_ms)), draw(some_meters(of, now_ms))
