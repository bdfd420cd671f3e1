import pytest

from chalicelib.admission import DEFAULT_LIMITS, check
from chalicelib.admission.limits import Budget, Rate
from tests.admission.arrange import limits


def test_the_default_limits_may_be_set() -> None:
    assert check(DEFAULT_LIMITS) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (limits(Rate("a", "requests", 1, 1_000, 1)), "refills too fast"),
        (limits(Rate("a", "requests", 0, 1_000, 1)), "count and burst"),
        (limits(Rate("a", "requests", 1, 0, 2)), "period_ms"),
        (limits(Rate("a", "requests", 1, 1_000, 2), Budget("a", "tokens", 5, "day")), "names two limits"),
        (limits(Budget("In Flight", "tokens", 5, "day")), "not a name"),
        (limits(Budget("in_flight", "tokens", 5, "day")), "not a name"),
        (limits(Budget("b", "tokens", -1, "day")), "limit must be"),
        (limits(in_flight=0), "in_flight must be"),
        (limits(*(Rate(f"r{i}", "requests", 1, 1_000, 2) for i in range(9))), "8 at most"),
        (limits(*(Budget(f"b{i}", "requests", 1, "day") for i in range(9))), "8 at most"),
    ],
)
def test_what_may_not_be_set_is_named(wrong: object, says: str) -> None:
    problems = check(wrong)  # type: ignore[arg-type]
    assert len(problems) == 1
    assert says in problems[0]
