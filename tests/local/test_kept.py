"""What is kept from start to start."""

from pathlib import Path

from tests.local.killing import story
from tests.local_system import local_system


def test_nothing_that_was_confirmed_is_lost_when_all_processes_are_killed(tmp_path: Path) -> None:
    assert story(tmp_path, kills=1, seed=7, say=print) == []


def test_a_fresh_start_forgets(tmp_path: Path) -> None:
    with local_system(tmp_path) as first:
        before = first.env
    with local_system(tmp_path, "--fresh") as second:
        changed = {name for name, value in before.items() if second.env[name] != value}

    assert changed >= {"CLOISTER_API_KEY", "CLOISTER_ADMIN_KEY", "CLOISTER_KMS_KEY_ARN", "AWS_ACCESS_KEY_ID"}
    assert changed >= {"CLOISTER_PERSON_PASSWORD", "CLOISTER_VIEWER_PASSWORD", "CLOISTER_ISSUER"}
