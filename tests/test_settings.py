"""What an environment may ask for."""

import pytest

from chalicelib.settings import BadSettings, Settings, read


def test_an_empty_environment_is_the_defaults() -> None:
    assert read({}) == Settings()


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadSettings) as caught:
        read({"CLOISTER_LEASE_MS": "soon", "CLOISTER_RENEW_MS": "0"})
    assert [name in str(caught.value) for name in ("CLOISTER_LEASE_MS", "CLOISTER_RENEW_MS")] == [True, True]


@pytest.mark.parametrize("idle_ms", ["68001", "70000", "80000"])
def test_no_accepted_silence_outlasts_a_lease(idle_ms: str) -> None:
    """An event just before it is time to renew, then silence: the next event must find the lease, and renew it."""
    assert read({"CLOISTER_IDLE_DEADLINE_MS": "68000"}).idle_deadline_ms == 68_000
    with pytest.raises(BadSettings, match="CLOISTER_IDLE_DEADLINE_MS"):
        read({"CLOISTER_IDLE_DEADLINE_MS": idle_ms})


def test_by_default_a_renewal_has_ten_seconds_after_the_longest_silence() -> None:
    defaults = Settings()
    assert defaults.lease_ms - defaults.renew_ms - defaults.idle_deadline_ms == 10_000


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CLOISTER_TENANT_SHARE_PERCENT": "101"}, "at most 100"),
        ({"CLOISTER_BODY_BYTES": "5000000"}, "CLOISTER_BODY_LIMIT_BYTES must not be more"),
        ({"CLOISTER_TRUSTED_HOPS": "-1"}, "at least 0"),
    ],
)
def test_bounds_that_nothing_can_keep_are_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        read(environment)
