"""The API of SES, and where its mails go."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from emulators.asgi import Receive, Scope, Send, whole_body
from emulators.ses.mail import Mail, NotTaken, mail_of

SEND_EMAIL = "/v2/email/outbound-emails"

Fault = Callable[[Mail], tuple[int, str] | None]
"""A status and the name of an exception, instead of taking this mail."""


def no_fault(_: Mail) -> None:
    return None


class LocalSes:
    """An ASGI application for SEND_EMAIL. Every sender counts as verified."""

    def __init__(self, folder: Path | None = None, fault: Fault = no_fault) -> None:
        """`folder`: where each mail becomes a file, for whoever wants to follow its links."""
        self.outbox: list[Mail] = []
        self._folder = folder
        self._fault = fault
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        if body is None:
            return
        status, answer = self._answer(scope, body)
        headers = [(b"content-type", b"application/json")]
        if status != 200:
            headers.append((b"x-amzn-errortype", answer.pop("__type").encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(answer)})

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, dict[str, Any]]:
        if not _signed_for_ses(dict(scope["headers"])):
            return 403, {"__type": "InvalidSignatureException", "message": "Sign for ses."}
        try:
            mail = mail_of(body)
        except NotTaken as why:
            return 400, {"__type": "BadRequestException", "message": str(why)}
        if fault := self._fault(mail):
            return fault[0], {"__type": fault[1], "message": "As it was told."}
        number = next(self._numbers)
        self.outbox.append(mail)
        if self._folder is not None:
            self._deliver(number, mail, self._folder)
        return 200, {"MessageId": f"local-{number:06}"}

    def _deliver(self, number: int, mail: Mail, folder: Path) -> None:
        heads = {"From": mail.sender, "To": ", ".join(mail.to), "Subject": mail.subject, **mail.headers}
        lines = "".join(f"{name}: {value}\n" for name, value in heads.items())
        folder.mkdir(parents=True, exist_ok=True)
        # Of a start, which begins to count anew; an older one of that number is of no use any more.
        (folder / f"{number:06}.txt").write_text(f"{lines}\n{mail.text}", encoding="utf-8")


def _signed_for_ses(headers: Mapping[bytes, bytes]) -> bool:
    return b"/ses/aws4_request" in headers.get(b"authorization", b"")
