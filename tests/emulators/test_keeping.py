"""What was made in the account, kept beside the tables."""

import pickle
from pathlib import Path

import pytest

from emulators.dynamodb import Rows
from emulators.keeping import Kept, OtherVersion


def test_what_is_beside_the_account_is_made_once(tmp_path: Path) -> None:
    first = Kept(tmp_path / "cloud.sqlite")
    assert first.beside(lambda: "made") == "made"
    first.rows.close()

    assert Kept(tmp_path / "cloud.sqlite").beside(lambda: "made again") == "made"


@pytest.mark.parametrize("kept", [pickle.dumps(("0.0.1", {}, None)), b"no pickle"])
def test_what_another_moto_has_kept_is_refused_in_a_sentence(tmp_path: Path, kept: bytes) -> None:
    rows = Rows(tmp_path / "cloud.sqlite")
    rows.keep("account", kept)
    rows.close()

    with pytest.raises(OtherVersion, match=r"What was kept is of .*moto"):
        Kept(tmp_path / "cloud.sqlite")


@pytest.mark.parametrize(
    ("target", "body", "changes"),
    [
        ("TrentService.CreateKey", b"{}", True),
        ("TrentService.Encrypt", b"{}", False),
        ("TrentService.DescribeKey", b"{}", False),
        ("secretsmanager.PutSecretValue", b"{}", True),
        ("secretsmanager.GetSecretValue", b"{}", False),
        ("", b"Action=CreateUser&UserName=a", True),
        ("", b"UserName=a&Action=GetUser", False),
        ("", b"Action=GetSessionToken", True),
        ("", b"a file of S3", False),
        ("Logs_20140328.PutLogEvents", b"{}", False),
    ],
)
def test_what_changes_nothing_is_not_kept_anew(tmp_path: Path, target: str, body: bytes, changes: bool) -> None:
    kept = Kept(tmp_path / "cloud.sqlite")
    assert kept.may_have_changed(target, body, 200) is changes
    assert not kept.may_have_changed(target, body, 400)
    assert not Kept(None).may_have_changed(target, body, 200)
