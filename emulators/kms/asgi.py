"""The local KMS as an application that stands in front of moto."""

import asyncio
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emulators.asgi import Application, Message, Receive, Scope, Send, whole_body
from emulators.kms.recipient import AttestationRoot
from emulators.kms.records import Records
from emulators.kms.refusal import KmsError
from emulators.kms.service import Asked, Service, passed_on

_TARGET = "TrentService."
_THREADS = 4


class LocalKms:
    """An ASGI application: KMS's cryptographic operations, judged and answered as AWS would.

    `behind` is moto, and gets every other request: the management of keys, and all that is not KMS's. `root` tells the
    attestation root of the moment (`recipient.root_in` reads it from a file), `clock` the ms since 1970. `records` is a
    file that grows by one line a call; None keeps none.
    """

    def __init__(
        self,
        behind: Application,
        *,
        root: AttestationRoot,
        clock: Callable[[], int],
        records: Path | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._behind = behind
        self._new_id = new_id
        self._service = Service(root, clock, new_id, Records(records))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kms")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        target = headers.get("x-amz-target", "")
        if not target.startswith(_TARGET):
            await self._behind(scope, receive, send)
            return
        body = await whole_body(receive)
        if body is None:
            return
        asked = Asked(
            request_id=self._new_id(),
            operation=target.removeprefix(_TARGET),
            authorization=headers.get("authorization", ""),
            token=headers.get("x-amz-security-token", ""),
            body=body,
        )
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._service.answer, asked)
        except KmsError as refused:
            await _send(send, 400, {"__type": refused.code, "message": refused.text}, asked.request_id)
            return
        if answer is None:
            await self._behind(scope, _once_more(passed_on(asked), receive), send)
            return
        await _send(send, 200, answer, asked.request_id)


def _once_more(body: bytes, receive: Receive) -> Receive:
    """A request whose body was read already, as if it had not been."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return unread.pop() if unread else await receive()

    return again


async def _send(send: Send, status: int, answer: dict[str, Any], request_id: str) -> None:
    headers = [(b"content-type", b"application/x-amz-json-1.1"), (b"x-amzn-requestid", request_id.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
