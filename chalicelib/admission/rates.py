"""GCRA (ITU-T I.371): "n units per period, burst b" as one number, the theoretical arrival time.

Law: in any interval of d, no more than `burst + d * count / period` units pass.

`tat` is the instant at which everything admitted so far will have been paid for at the sustained rate.
A call may borrow from the future up to the tolerance, which is what a whole burst costs.

    busy   tat >= now - slack    passes if tat + cost - now <= tolerance - slack;  then tat + cost
    idle   tat <  now - slack    passes always (a call of at most the burst);      then now + cost

The slack is hysteresis. Without it a tenant just below its limit changes branch at every call, and
concurrent callers, who must predict the branch for a conditional write, mispredict for ever. It gives
nothing away: what is not charged while `tat` lags behind `now` is withheld from the tolerance.

From now - slack to now both branches keep the law: idle charges the lag, too. So who bets on idle, because
it saw the rate at rest, is right also where others came since, up to `idle_before_us`.

Instants are integers of microseconds (a millisecond is several tokens at the rates that we sell);
costs are rounded up, so the error is in the limit's favour and below a microsecond per call.
"""

from functools import lru_cache

from chalicelib.admission.limits import SLACK_MS, Rate, ShareOfRate

US_PER_MS = 1_000
SLACK_US = SLACK_MS * US_PER_MS


@lru_cache(maxsize=4096)
def key(rate: Rate) -> str:
    """The rate's name in the meter.

    It holds the definition but for the burst: a changed rate starts afresh, where an old arrival time
    would be debt in a different currency (raising a limit would leave its tenant waiting for minutes).
    Changing back finds the old debt again, so nobody gains by turning a rate to and fro.
    """
    if isinstance(rate, ShareOfRate):
        return rate.key
    return f"{rate.name}.{rate.unit[0]}{rate.count}/{rate.period_ms}"


def cost_us(rate: Rate, units: int) -> int:
    """What `units` cost, in time at the sustained rate."""
    return -(-units * rate.period_ms * US_PER_MS // rate.count)


def tolerance_us(rate: Rate) -> int:
    """What a whole burst costs, rounded down: with both rounded up the curve could be missed by a microsecond."""
    return rate.burst * rate.period_ms * US_PER_MS // rate.count


def busy_until_us(rate: Rate, units: int, now_us: int) -> int:
    """The latest arrival time at which `units` pass by the busy branch."""
    return now_us + tolerance_us(rate) - SLACK_US - cost_us(rate, units)


def idle_before_us(rate: Rate, units: int, now_us: int) -> int:
    """The arrival times before which `units`, at most a burst, may start afresh at now.

    All those at rest; and those that lag, where the lag and the units are within the tolerance.
    """
    return max(now_us - SLACK_US, min(now_us, busy_until_us(rate, units, now_us)))


def passes_at_us(rate: Rate, tat_us: int | None, units: int) -> int:
    """The first instant at which `units` pass, 0 for a rate never used. Later instants pass as well.

    For units up to the burst only; more never pass.
    """
    if tat_us is None:
        return 0
    return tat_us + cost_us(rate, units) - tolerance_us(rate) + SLACK_US


def remaining(rate: Rate, tat_us: int | None, now_us: int) -> int:
    """How many units would pass now."""
    if tat_us is None or tat_us < now_us - SLACK_US:
        return rate.burst
    room_us = now_us + tolerance_us(rate) - SLACK_US - tat_us
    return min(rate.burst, max(0, room_us * rate.count // (rate.period_ms * US_PER_MS)))


def reset_us(tat_us: int | None, now_us: int) -> int:
    """Time until the whole burst is there again."""
    return 0 if tat_us is None else max(0, tat_us + SLACK_US - now_us)


def is_sound(rate: Rate) -> bool:
    """Whether one unit at a time can be had at the sustained rate: the slack must fit into the tolerance."""
    return tolerance_us(rate) >= cost_us(rate, 1) + SLACK_US
