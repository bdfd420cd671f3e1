"""What is killed and stopped under mixed load costs time, and neither a lease nor a token."""

from pathlib import Path

from tests.local.mixed_load import story


def test_no_fault_under_mixed_load_leaves_a_lease_or_counts_what_is_not_in_the_ledger(tmp_path: Path) -> None:
    assert story(tmp_path, seconds=0, say=print) == []
