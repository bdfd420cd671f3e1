"""Each alarm of infra/observability.yaml is on when it should be, and at no other time.

How long CloudWatch's evaluation range is, AWS says by an example alone; so everything here holds for several.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from tests.deployment.cloudwatch.alarm import State, holds, state_of, watched
from tests.deployment.cloudwatch.filled_in import FilledIn
from tests.deployment.cloudwatch.series import MINUTE, Series
from tests.deployment.cloudwatch.stories import ALWAYS, HOUR, LAST_HOUR, LENGTH, WATCHED, Story

TEMPLATE = FilledIn("observability", {"Stage": "dev"})
METRIC_ALARMS: dict[str, Any] = TEMPLATE.properties("AWS::CloudWatch::Alarm")
COMPOSITE_ALARMS: dict[str, Any] = TEMPLATE.properties("AWS::CloudWatch::CompositeAlarm")
ALARMS = METRIC_ALARMS | COMPOSITE_ALARMS
EXTRA = (0, 2, 5)
"""By how many periods the evaluation range is longer than what is evaluated."""

Telling = Callable[[], Story]

BAD = LENGTH - 90
"""A minute in which things go wrong, with what came of it still to be watched."""
LAST_MINUTES = range(LENGTH - 10, LENGTH)
LATE = range(LENGTH - 3, LENGTH)


def a_usual_day() -> Story:
    """One request of a thousand fails, and some are refused."""
    return Story().asked(1_000, failed=1, refused=30)


def nobody_asks() -> Story:
    return Story()


def callers_alone_are_wrong() -> Story:
    return Story().asked(100, refused=100)


def one_bad_minute() -> Story:
    """In which all that can go wrong does, but for what somebody must look at once."""
    story = Story().asked(100, range(BAD)).asked(100, range(BAD + 1, LENGTH)).asked(100, [BAD], failed=100)
    for metric in ("NoTarget", "SettlementDeferred", "SettledLate", "LeasesAbandoned", "Fault", "SignInBroken"):
        story.counted(metric, [BAD], times=100)
    for metric in ("ErrorCount.NoCapacity", "ErrorCount.EngineTimedOut", "NotaryFailed"):
        story.counted(metric, [BAD], times=100)
    story.seen("AWS/Lambda", "ConcurrentExecutions", 1_000, [BAD]).seen("AWS/Lambda", "Throttles", 50, [BAD])
    return story.without("ReaperRan", [BAD]).without("ProberRan", [BAD]).without("NotaryRan", [BAD])


def data_comes_late() -> Story:
    """What happened in the last minutes is not told yet."""
    return a_usual_day().without("", LATE)


def one_night_request_of_three_fails() -> Story:
    return Story().asked(3, range(BAD, LENGTH, HOUR), failed=1)


def failing(failed: int, minutes: range = ALWAYS, of: int = 1_000) -> Telling:
    """So many of `of` requests each minute, and none before and after."""

    def story() -> Story:
        before, after = range(minutes.start), range(minutes.stop, LENGTH)
        return Story().asked(of, before).asked(of, minutes, failed=failed).asked(of, after)

    return story


def breaking(broken: int, minutes: range = ALWAYS, of: int = 1_000) -> Telling:
    """The same of answers that break after API Gateway has said 200."""

    def story() -> Story:
        before, after = range(minutes.start), range(minutes.stop, LENGTH)
        return Story().asked(of, before).asked(of, minutes, broken=broken).asked(of, after)

    return story


def of_kind(metric: str, times: int, of: int, minutes: range) -> Telling:
    return lambda: Story().asked(of).counted(metric, minutes, times)


def counted(metric: str, minutes: range | list[int], times: int = 1) -> Telling:
    return lambda: a_usual_day().counted(metric, minutes, times)


def without(metric: str, minutes: range) -> Telling:
    return lambda: a_usual_day().without(metric, minutes)


def seen(namespace: str, metric: str, value: float, minutes: range | list[int], **dimensions: str) -> Telling:
    return lambda: a_usual_day().seen(namespace, metric, value, minutes, **dimensions)


NOTHING_WRONG = (a_usual_day, nobody_asks, callers_alone_are_wrong, data_comes_late)


class Row(msgspec.Struct, frozen=True):
    """Stories in which the alarm must be on at some time, and in which it must never be, besides NOTHING_WRONG."""

    on: tuple[Telling, ...]
    off: tuple[Telling, ...] = ()
    tells: bool = True  # the topic; else it is only what another alarm is made of


TWO_HOURS, LAST_6H = range(LENGTH - 2 * HOUR, LENGTH), range(LENGTH - 6 * HOUR, LENGTH)
AN_HOUR_AGO = range(LENGTH - 8 * HOUR, LENGTH - 7 * HOUR)

ROWS = {
    "DoorFails1h": Row((failing(73),), (failing(72), one_night_request_of_three_fails), tells=False),
    "DoorFails5m": Row((failing(73), one_bad_minute), (failing(72),), tells=False),
    "DoorFails6h": Row((failing(31),), (failing(30), one_night_request_of_three_fails), tells=False),
    "DoorFails30m": Row((failing(31),), (failing(30),), tells=False),
    "AnswersFail1h": Row((failing(73), breaking(73)), (breaking(72), one_night_request_of_three_fails), tells=False),
    "AnswersFail5m": Row((breaking(73), one_bad_minute), (breaking(72),), tells=False),
    "AnswersFail6h": Row((breaking(31),), (breaking(30), one_night_request_of_three_fails), tells=False),
    "AnswersFail30m": Row((breaking(31),), (breaking(30),), tells=False),
    "ServiceLevelFast": Row(
        (breaking(73), failing(73), failing(1_000, LAST_HOUR), failing(1, LAST_HOUR, of=1), failing(150, TWO_HOURS)),
        (
            *(failing(72), breaking(72), failing(31), one_night_request_of_three_fails),
            failing(72, AN_HOUR_AGO),
            failing(1_000, range(LENGTH - 3, LENGTH)),  # three minutes of an hour
        ),
    ),
    "ServiceLevelSlow": Row(
        (failing(31), breaking(31), failing(100, LAST_6H), failing(1_000, LAST_HOUR)),
        (failing(30), failing(5), one_night_request_of_three_fails, failing(170, AN_HOUR_AGO)),
    ),
    "ConcurrencyNearlyUsed": Row(
        (seen("AWS/Lambda", "ConcurrentExecutions", 801, LAST_MINUTES),),
        (seen("AWS/Lambda", "ConcurrentExecutions", 800, ALWAYS),),
    ),
    "Throttled": Row(
        (seen("AWS/Lambda", "Throttles", 1, LAST_MINUTES),), (seen("AWS/Lambda", "Throttles", 0, ALWAYS),)
    ),
    "TurnedAway": Row(
        (of_kind("ErrorCount.NoCapacity", 51, 1_000, LAST_HOUR),),
        (
            of_kind("ErrorCount.NoCapacity", 50, 1_000, ALWAYS),
            of_kind("ErrorCount.EngineFailed", 999, 1_000, ALWAYS),
            of_kind("ErrorCount.NoCapacity", 1, 1, range(BAD, LENGTH, 10)),
        ),
    ),
    "EnginesTimeOut": Row(
        (of_kind("ErrorCount.EngineTimedOut", 51, 1_000, LAST_HOUR),),
        (
            of_kind("ErrorCount.EngineTimedOut", 50, 1_000, ALWAYS),
            of_kind("ErrorCount.NoCapacity", 999, 1_000, ALWAYS),
            of_kind("ErrorCount.EngineTimedOut", 1, 1, range(BAD, LENGTH, 10)),
        ),
    ),
    "NoTarget": Row((counted("NoTarget", LAST_MINUTES),), (counted("NoTarget", range(0, LENGTH, 6)),)),
    "StoreTimesOut": Row((counted("SettlementDeferred", LAST_MINUTES),), (counted("SettledLate", ALWAYS),)),
    "SettledLate": Row(
        (counted("SettledLate", range(LENGTH - 20, LENGTH, 6)),), (counted("SettledLate", range(0, LENGTH, 90)),)
    ),
    "RequestsDie": Row(
        (counted("LeasesAbandoned", range(LENGTH - 20, LENGTH, 6)),),
        (counted("LeasesAbandoned", range(0, LENGTH, 90)),),
    ),
    "FaultsGoOn": Row((counted("Fault", range(LENGTH - 20, LENGTH, 6)),), (counted("Fault", range(0, LENGTH, 90)),)),
    "SignInBroken": Row((counted("SignInBroken", LAST_MINUTES),)),
    "ReaperSilent": Row((without("ReaperRan", range(LENGTH - 30, LENGTH)),), (without("ReaperRan", LATE),)),
    "ProberSilent": Row((without("ProberRan", range(LENGTH - 30, LENGTH)),), (without("ProberRan", LATE),)),
    "NotarySilent": Row(
        (without("NotaryRan", range(20 * HOUR, LENGTH)),), (without("NotaryRan", range(LENGTH - 2 * HOUR, LENGTH)),)
    ),
    "NotaryFails": Row(
        (counted("NotaryFailed", range(LENGTH - 150, LENGTH, HOUR)),),
        (counted("NotaryFailed", range(5, LENGTH, 5 * HOUR)),),
    ),
    "BreakGlass": Row((counted("BreakGlass", [BAD]),), (one_bad_minute,)),
    "ChangeUnended": Row((counted("ChangeUnended", [BAD]),), (one_bad_minute,)),
    "KeyChanged": Row(
        (seen("AWS/Events", "Invocations", 1, [BAD], RuleName="KeyChanges"),),
        (one_bad_minute, seen("AWS/Events", "Invocations", 1, ALWAYS, RuleName="AnotherRule")),
    ),
}


def test_every_alarm_has_its_row() -> None:
    assert set(ROWS) == set(ALARMS)
    for name, row in ROWS.items():
        assert row.on and row.tells == ("AlarmActions" in ALARMS[name]), name


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.parametrize("extra", EXTRA)
def test_an_alarm_is_on_when_it_should_be(name: str, extra: int) -> None:
    for number, telling in enumerate(ROWS[name].on):
        assert "ALARM" in states(name, telling, extra), (name, number)


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.parametrize("extra", EXTRA)
def test_an_alarm_is_off_at_any_other_time(name: str, extra: int) -> None:
    row = ROWS[name]
    for telling in (*NOTHING_WRONG, *((one_bad_minute,) if row.tells else ()), *row.off):
        assert set(states(name, telling, extra)) == {"OK"}, (name, telling.__qualname__)


def test_what_is_over_is_over() -> None:
    """An alarm that stays on when all is well again would hide the next one."""
    for name, row in ROWS.items():
        if row.tells and name not in ("ServiceLevelSlow", "NotarySilent", "NotaryFails"):
            for extra in EXTRA:
                assert states(name, a_bad_hour_long_ago, extra)[-1] == "OK", name


def a_bad_hour_long_ago() -> Story:
    bad = range(LENGTH - 8 * HOUR, LENGTH - 7 * HOUR)
    story = Story().asked(100, range(bad.start)).asked(100, bad, failed=100).asked(100, range(bad.stop, LENGTH))
    for metric in ("NoTarget", "SettlementDeferred", "Fault", "SignInBroken", "BreakGlass", "ChangeUnended"):
        story.counted(metric, bad)
    story.seen("AWS/Lambda", "ConcurrentExecutions", 1_000, bad).seen("AWS/Lambda", "Throttles", 50, bad)
    story.seen("AWS/Events", "Invocations", 1, bad, RuleName="KeyChanges")
    return story.without("ReaperRan", bad).without("ProberRan", bad)


@cache
def told(telling: Telling) -> Story:
    return telling()


@cache
def states(name: str, telling: Telling, extra: int) -> tuple[State, ...]:
    """At each time at which it is looked at; each begins with what it was before."""
    return tuple(_states(name, telling, extra))


def _states(name: str, telling: Telling, extra: int) -> Iterator[State]:
    if name in COMPOSITE_ALARMS:
        rule = COMPOSITE_ALARMS[name]["AlarmRule"]
        parts = {part: states(part, telling, extra) for part in METRIC_ALARMS if f'"{part}"' in rule}
        for together in zip(*parts.values(), strict=True):
            yield "ALARM" if holds(rule, dict(zip(parts, together, strict=True))) else "OK"
        return
    alarm = METRIC_ALARMS[name]
    state: State = "OK"
    # Those that look back for an hour differ little from one minute to the next.
    for minute in range(WATCHED.start, WATCHED.stop, 1 if alarm.get("Period") == MINUTE else 5):
        state = state_of(alarm, told(telling).metrics, minute * MINUTE, extra, state)
        yield state


def test_shares_are_of_all_that_was_asked() -> None:
    """The series that is compared, and not only what comes of it."""
    found = watched(METRIC_ALARMS["DoorFails1h"], failing(73)().metrics, LENGTH * MINUTE, 2)
    assert found == Series((7.3, 7.3), 3_600)
    assert watched(METRIC_ALARMS["DoorFails5m"], Story().metrics, LENGTH * MINUTE, 1) == Series((None,), 300)
