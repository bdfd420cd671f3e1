"""What a schedule tells of itself, so that somebody notices when it stops."""

import json

import pytest

from chalicelib import schedules, wiring
from chalicelib.ledger.notary import SETTLED_MS, CannotSign
from chalicelib.refusal import StoreUnavailable
from chalicelib.usage import Roller
from tests.small_deployments import Deployment, dynamodb
from tests.stores import reach_tables, with_credentials

DAY_MS = 86_400_000


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The metrics of the lines since the last look."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [metric["Name"] for line in lines for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]


def roller(deployment: Deployment) -> Roller:
    return Roller(deployment.store.ledger, deployment.store.ledger, deployment.store.rollups)


def cannot_sign(_message: bytes) -> bytes:
    raise CannotSign("The key is disabled.")


def test_each_tells_that_it_ran_also_when_there_was_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    deployment = Deployment()
    deployment.pool("model-a", "a")
    deployment.tenant("acme")
    with wiring.opening_into(deployment.rooms()):
        assert schedules.reap() == 0
        assert told(capsys) == ["ReaperRan"]
        schedules.ask_targets()
        assert told(capsys) == ["ProberRan"]
        assert schedules.sign_heads_by(cannot_sign) == 0  # nobody has asked for anything
        assert schedules.sign_heads() == 0  # nor is there a key
        assert told(capsys) == ["NotaryRan", "NotaryRan"]
        assert schedules.roll_up_by(roller(deployment)) == 0
        assert told(capsys) == ["UsageRan"]


def test_a_notary_that_cannot_sign_says_so_and_not_that_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    deployment = Deployment()
    deployment.pool("model-a", "a")
    deployment.tenant("acme")
    deployment.ask(deployment.path(), deployment.key("acme"))
    with wiring.opening_into(deployment.rooms()):
        deployment.clock.now_ms += DAY_MS + SETTLED_MS
        capsys.readouterr()
        with pytest.raises(CannotSign):
            schedules.sign_heads_by(cannot_sign)
        assert told(capsys) == ["NotaryFailed"]
        assert schedules.sign_heads_by(lambda message: b"signed") == 1
        assert told(capsys) == ["NotaryRan"]


def test_none_tells_that_it_ran_where_the_store_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with_credentials()
    nowhere = Deployment(dynamodb(reach_tables("http://127.0.0.1:9", "nowhere", deadline_ms=50)))

    def usage() -> int:
        return schedules.roll_up_by(roller(nowhere))

    with wiring.opening_into(nowhere.rooms()):
        for run in (schedules.reap, schedules.ask_targets, lambda: schedules.sign_heads_by(cannot_sign), usage):
            with pytest.raises(StoreUnavailable):
                run()
    assert told(capsys) == ["NotaryFailed"]
