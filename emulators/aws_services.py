"""Moto behind ASGI: every AWS service of the local cloud but the SageMaker runtime.

Moto serves WSGI and is not atomic: served by threads, its DynamoDB loses updates. Here all DynamoDB calls run on one
thread, one after the other, and nothing that is proved on this store rests on luck. Its items are in a file
(`emulators.dynamodb`), and with a path everything else that is made here as well (`emulators.keeping`).
"""

import asyncio
import io
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.utilities.utils import get_partition

from emulators.asgi import Receive, Scope, Send, whole_body
from emulators.dynamodb import Service
from emulators.keeping import Kept

ACCOUNT: str = DEFAULT_ACCOUNT_ID

_SUFFICES_FOR_EVERYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'

_DYNAMODB = "DynamoDB_2012"  # not its streams

Headers = list[tuple[bytes, bytes]]


class AccessKey(msgspec.Struct, frozen=True):
    """A principal's long-lived credentials."""

    arn: str
    access_key_id: str
    secret_access_key: str


class AwsServices:
    """An ASGI application. With `kept`, what is made in it outlives the process, however that ends."""

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept = kept or Kept(None)
        self._tables = Service(self._kept.rows, self._kept.keep)
        self._wsgi = DomainDispatcherApplication(create_backend_app)
        self._dynamodb = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dynamodb")
        # More than one thread, because some services of moto call others through HTTP.
        self._others = ThreadPoolExecutor(max_workers=8, thread_name_prefix="aws")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        if body is None:
            return
        environ = _environ(scope, body)
        loop = asyncio.get_running_loop()
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith(_DYNAMODB):
            status, headers, answer = await loop.run_in_executor(self._dynamodb, self._ask_tables, environ, body)
        else:
            status, headers, answer = await loop.run_in_executor(self._others, self._call, environ)
            if self._kept.may_have_changed(target, body, status):
                # On the thread of the tables, whose file it is.
                await loop.run_in_executor(self._dynamodb, self._kept.keep)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _ask_tables(self, environ: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
        status, headers, answer = self._tables.answer(environ, body)
        encoded = [(name.lower().encode(), str(value).encode()) for name, value in headers.items() if name != "status"]
        return status, encoded, answer

    def _call(self, environ: dict[str, Any]) -> tuple[int, Headers, bytes]:
        started: list[tuple[int, Headers]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            started.append((int(status.split(" ", 1)[0]), encoded))

        pieces: Iterable[bytes] = self._wsgi(environ, start_response)
        try:
            answer = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        reset_model_data()  # a list of all objects that ever were, for moto's own page of them
        status, headers = started[-1]
        return status, headers, answer


def create_operator(name: str, region: str) -> AccessKey:
    """A user who may do everything in the account."""
    return create_user(name, region, _SUFFICES_FOR_EVERYTHING)


def create_user(name: str, region: str, policy: str) -> AccessKey:
    """A user with this policy, in the region's partition."""
    iam = iam_backends[ACCOUNT][get_partition(region)]
    user = iam.create_user(region, name)
    iam.put_user_policy(name, "cloister", policy)
    key = iam.create_access_key(name)
    return AccessKey(user.arn, key.access_key_id, key.secret_access_key)


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    host, port = scope["server"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "RAW_URI": scope["raw_path"].decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key == "CONTENT_TYPE":
            environ[key] = text
        elif key != "CONTENT_LENGTH":
            key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    # The whole body is here already; moto must not read it as chunked once more.
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ
