"""What limits may be set. Checked once, when they are set, so that admission need not."""

import re

from chalicelib.admission import rates
from chalicelib.admission.limits import SLACK_MS, Limits

MOST_RATES = 8
MOST_BUDGETS = 8
# The meter holds every lease, and each write of it costs one unit per KB: 12 leases and more fit into the first.
MOST_IN_FLIGHT = 1_000
MOST_UNITS = 10**15
LONGEST_PERIOD_MS = 31 * 86_400_000

_NAME = re.compile(r"[a-z0-9_]{1,16}")
_RESERVED = {"in_flight"}


def check(limits: Limits) -> list[str]:
    """Everything that is wrong with these limits, one sentence each; [] if they may be set."""
    problems = []
    names = [rate.name for rate in limits.rates] + [budget.name for budget in limits.budgets]
    for name in sorted({each for each in names if names.count(each) > 1}):
        problems.append(f"'{name}' names two limits")
    for name in names:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            problems.append(f"'{name}' is not a name for a limit: 1 to 16 of a-z, 0-9 and _, and not in_flight")
    if len(limits.rates) > MOST_RATES:
        problems.append(f"there are {len(limits.rates)} rates, {MOST_RATES} at most")
    if len(limits.budgets) > MOST_BUDGETS:
        problems.append(f"there are {len(limits.budgets)} budgets, {MOST_BUDGETS} at most")
    if not 1 <= limits.in_flight <= MOST_IN_FLIGHT:
        problems.append(f"in_flight must be from 1 to {MOST_IN_FLIGHT}, not {limits.in_flight}")
    for rate in limits.rates:
        if not (1 <= rate.count <= MOST_UNITS and 1 <= rate.burst <= MOST_UNITS):
            problems.append(f"rate '{rate.name}': count and burst must be from 1 to {MOST_UNITS}")
        elif not 1 <= rate.period_ms <= LONGEST_PERIOD_MS:
            problems.append(f"rate '{rate.name}': period_ms must be from 1 to {LONGEST_PERIOD_MS}")
        elif not rates.is_sound(rate):
            problems.append(
                f"rate '{rate.name}': a burst of {rate.burst} refills too fast to be kept exactly; "
                f"it must be worth {SLACK_MS} ms more than one unit"
            )
    for budget in limits.budgets:
        if not 0 <= budget.limit <= MOST_UNITS:
            problems.append(f"budget '{budget.name}': limit must be from 0 to {MOST_UNITS}")
    return problems
