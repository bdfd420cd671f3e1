"""Mails through AWS's own client: what SES takes lies in the folder, and what it would refuse is refused."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulators.clouds import cloud

TEXT = {"Subject": {"Data": "Slow"}, "Body": {"Text": {"Data": "We look."}}}


def test_a_mail_lies_in_the_folder_with_its_headers_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    with cloud({}, tmp_path, "--mails", str(tmp_path / "mails")) as here:
        ses: Any = here.client("sesv2")

        def send(to: str, **more: Any) -> Any:
            content = {"Simple": {**TEXT, **more}}
            return ses.send_email(FromEmailAddress="us@x.example", Destination={"ToAddresses": [to]}, Content=content)

        assert send("ada@acme.example", Headers=[{"Name": "List-Unsubscribe", "Value": "<https://x>"}])["MessageId"]
        (mail,) = (tmp_path / "mails").iterdir()
        assert mail.read_text() == (
            "From: us@x.example\nTo: ada@acme.example\nSubject: Slow\nList-Unsubscribe: <https://x>\n\nWe look."
        )
        for wrong in ({"to": "nobody"}, {"to": "a@b.cd", "Subject": {"Data": "two\nlines"}}):
            with pytest.raises(ClientError, match="BadRequestException"):
                send(**wrong)
        assert len(list((tmp_path / "mails").iterdir())) == 1
