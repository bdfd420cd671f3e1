"""A gateway with an enclave behind it, on loopback: the real formats over a real socket, and a hand that may tamper."""

import base64
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from botocore.exceptions import ClientError

from emulators.security_module import PCRS, Authority, SimulatedSecurityModule
from sealed import esdk, hpke, kms_mode
from sealed.hpke import EpochKeys
from sealed.padding import padded
from sealed.refusal import NotOpened
from tests.emulators.kms.served import Enclave, Person
from tests.patience import PATIENCE_S

TENANT = "acme"
API_KEY = "a-key-of-acme"
EPOCH_MS = 3_600_000
PCR0 = PCRS[0].hex()

Json = dict[str, Any]
NOT_VALIDATED = {"type": "/problems/key-validation-failed", "detail": "Key validation failed."}
NOT_OPENED = {"error": {"message": "Key validation failed.", "code": "key_validation_failed"}}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Seen(msgspec.Struct, frozen=True):
    """One request as it came over the wire."""

    method: str
    path: str
    headers: Message
    body: bytes


class Refusal(Exception):
    def __init__(self, status: int, body: Json) -> None:
        self.status = status
        self.body = body


class Gateway:
    """What it does can be changed between two requests, by whoever holds it."""

    def __init__(self, kms: Any = None, host: Person | None = None) -> None:
        self.kms = kms
        self.host = host  # whose credentials the enclave's host has
        self.authority = Authority.made(now_ms())
        self.module = SimulatedSecurityModule(self.authority, clock=now_ms)
        self.begin_epoch("e-1", EPOCH_MS)
        self.tell: Callable[[Json], Json | bytes] = lambda told: told
        self.tamper: Callable[[list[bytes]], list[bytes]] = lambda pieces: pieces
        self.refuse: list[Refusal] = []  # one for each of the next sealed requests
        self.before_the_rest = threading.Event()  # a stream waits for it after its first piece
        self.before_the_rest.set()
        self.seen: list[Seen] = []
        self.opened: list[Json] = []
        self.keys: dict[str, str] = {}
        self._pending = ("", "")  # the key to be registered, and the secret that proves control of it

    def begin_epoch(self, epoch: str, lifetime_ms: int) -> None:
        self.epoch_keys = EpochKeys.derive(os.urandom(64))
        self.configuration = self.epoch_keys.configuration(
            epoch=epoch, expires_ms=now_ms() + lifetime_ms, token=b"a token"
        )

    @property
    def sealed(self) -> list[Seen]:
        return [seen for seen in self.seen if "/v1/" in seen.path and seen.method == "POST"]

    @property
    def attested(self) -> int:
        return sum("/attestation" in seen.path for seen in self.seen)

    def attestation(self, query: dict[str, list[str]]) -> Json | bytes:
        if query.get("pool") == ["nowhere"]:
            raise Refusal(404, {"type": "/problems/not-found", "detail": "There is no pool nowhere with an enclave."})
        nonce = base64.urlsafe_b64decode(query["nonce"][0] + "==")
        document = self.module.attest(nonce=nonce, user_data=self.configuration.fingerprint())
        return self.tell({"document": _b64(document), "configuration": json.loads(self.configuration.to_json())})

    def infer(self, seen: Seen) -> list[bytes]:
        """The sealed answer, in pieces as they are sent."""
        if self.refuse:
            raise self.refuse.pop(0)
        headers = seen.headers
        stream = headers["X-Seal-Stream"] == "true"
        try:
            asked, seal = self._opened(headers, seen.body)
        except (NotOpened, ClientError):
            raise Refusal(401, NOT_OPENED) from None
        self.opened.append(asked)
        if stream:
            multiple = {"hpke": hpke.STREAM_MULTIPLE_BYTES, "esdk": esdk.STREAM_FRAME_BYTES}[headers["X-Seal-Mode"]]
            events = [padded(event, multiple) for event in (*_events(asked), b"data: [DONE]\n\n")]
            return self.tamper([seal(event, False) for event in events] + [seal(b"", True)])
        return self.tamper([seal(json.dumps(_answer(asked)).encode(), True)])

    def _opened(self, headers: Message, body: bytes) -> tuple[Json, Callable[[bytes, bool], bytes]]:
        mode, request_id, arn = headers["X-Seal-Mode"], headers["X-Request-ID"], headers["X-KMS-Key-ID"]
        if mode == "hpke":
            if hpke.token_of(body).epoch != self.configuration.epoch:
                raise NotOpened
            plaintext, sealer, _ = hpke.open_request(
                body, self.epoch_keys, tenant=TENANT, request_id=request_id, pool=headers["X-Model-Pool"]
            )
            return json.loads(plaintext), sealer.seal
        if mode == "esdk":
            context = esdk.request_context(tenant=TENANT, request_id=request_id)
            plaintext = esdk.open(self.kms, arn, context, body)
            context = esdk.response_context(tenant=TENANT, request_id=request_id)
            return json.loads(plaintext), esdk.Sealer(self.kms, arn, context).seal
        plaintext = self.kms.decrypt(KeyId=arn, CiphertextBlob=body)["Plaintext"]
        asked = json.loads(plaintext)

        def seal(piece: bytes, final: bool) -> bytes:
            echoed = kms_mode.with_echo(piece, nonce=asked["nonce"], blob=body)
            blob: bytes = self.kms.encrypt(KeyId=arn, Plaintext=echoed)["CiphertextBlob"]
            return blob

        return asked, seal

    def challenge(self, arn: str) -> Json:
        self._pending = (arn, os.urandom(32).hex())
        context = _context("cloister-key-registration")
        try:
            sealed = self.kms.encrypt(KeyId=arn, Plaintext=self._pending[1], EncryptionContext=context)
        except ClientError:
            raise Refusal(401, NOT_VALIDATED) from None
        return {"key_arn": arn, "challenge": _b64(sealed["CiphertextBlob"]), "expires_ms": now_ms() + 60_000}

    def prove(self, key_id: str, proof: str) -> Json:
        arn, secret = self._pending
        opened = self.kms.decrypt(
            KeyId=arn, CiphertextBlob=base64.b64decode(proof), EncryptionContext=_context("cloister-key-proof")
        )
        if opened["Plaintext"].decode() != secret:
            raise Refusal(401, NOT_VALIDATED)
        self.keys[key_id] = arn
        return {"key_arn": arn, "registered_ms": now_ms()}

    def probe(self, key_id: str, asked: Json) -> Json:
        """As the enclave does: the same Decrypt by the host's role, with and without a document."""
        assert self.host is not None
        arn = self.keys[key_id]
        call = {
            "KeyId": arn,
            "CiphertextBlob": base64.b64decode(asked["ciphertext"]),
            "EncryptionContext": _context("cloister-doctor"),
        }
        attested = _tried(self.host.kms, call | {"Recipient": Enclave(self.module).recipient()})
        said = {
            "key_sha256": hashlib.sha256(arn.encode()).hexdigest(),
            "attested": attested,
            "unattested": _tried(self.host.kms, call),
        }
        document = self.module.attest(nonce=base64.b64decode(asked["nonce"]), user_data=json.dumps(said).encode())
        told = self.tell({"document": _b64(document)})
        assert isinstance(told, dict)
        return told


def _tried(kms: Any, call: Json) -> str:
    try:
        kms.decrypt(**call)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def _context(purpose: str) -> dict[str, str]:
    return {"tenant_id": TENANT, "purpose": purpose}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _words(asked: Json) -> str:
    return f"You said: {asked['messages'][-1]['content']}" if "messages" in asked else f"{asked['prompt']}."


def _answer(asked: Json) -> Json:
    """As OpenAI's API answers."""
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    if "input" in asked:
        vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        return {"object": "list", "model": asked["model"], "data": vectors, "usage": usage}
    if "prompt" in asked:
        choice: Json = {"index": 0, "text": _words(asked), "finish_reason": "stop"}
        kind = "text_completion"
    else:
        said = {"role": "assistant", "content": _words(asked)}
        choice, kind = {"index": 0, "message": said, "finish_reason": "stop"}, "chat.completion"
    return {"id": "1", "object": kind, "created": 0, "model": asked["model"], "choices": [choice], "usage": usage}


def _events(asked: Json) -> Iterator[bytes]:
    for word in _words(asked).split(" "):
        choice = {"index": 0, "delta": {"role": "assistant", "content": word + " "}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "demo", "choices": [choice]}
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    gateway: Gateway

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = Seen(self.command, self.path, self.headers, body)
        self.gateway.seen.append(seen)
        try:
            if self.headers["Authorization"] != f"Bearer {API_KEY}":
                text = "The API key is not valid."
                openai = {"error": {"message": text, "code": "invalid_api_key"}}
                problem = {"type": "/problems/invalid-api-key", "detail": text}
                raise Refusal(401, openai if "/v1/" in self.path else problem)
            self._route(seen)
        except Refusal as refusal:
            self._send(refusal.status, "application/json", json.dumps(refusal.body).encode())

    def _route(self, seen: Seen) -> None:
        url = urlsplit(seen.path)
        route = url.path.removeprefix(f"/tenants/{TENANT}")
        gateway = self.gateway
        if route.startswith("/v1/") and seen.method == "POST":
            pieces = gateway.infer(seen)
            if seen.headers["X-Seal-Stream"] == "true":
                self._stream(pieces)
            else:
                self._send(200, "application/octet-stream", b"".join(pieces))
            return
        told: Any
        match seen.method, route.split("/")[1:]:
            case "GET", ["attestation"]:
                told = gateway.attestation(parse_qs(url.query))
            case "GET", ["v1", "models"]:
                told = {"object": "list", "data": [{"id": "demo", "object": "model", "created": 0, "owned_by": TENANT}]}
            case "GET", ["kms-keys"]:
                told = {"keys": [{"key_arn": arn, "registered_ms": now_ms()} for arn in gateway.keys.values()]}
            case "POST", ["kms-keys"]:
                told = gateway.challenge(json.loads(seen.body)["key_arn"])
            case "PUT", ["kms-keys", key_id]:
                told = gateway.prove(key_id, json.loads(seen.body)["proof"])
            case "POST", ["kms-keys", key_id, "probe"]:
                told = gateway.probe(key_id, json.loads(seen.body))
            case "DELETE", ["kms-keys", key_id] if key_id in gateway.keys:
                told = gateway.keys.pop(key_id)
            case _:
                raise Refusal(404, {"type": "/problems/not-found", "detail": "There is no such thing."})
        self._send(200, "application/json", told if isinstance(told, bytes) else json.dumps(told).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Region", "us-east-1")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, pieces: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(ConnectionError):  # a reader may leave
            for number, piece in enumerate(pieces):
                if number == 1:
                    self.gateway.before_the_rest.wait(PATIENCE_S)
                if piece:  # an empty chunk would end the body
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # callers may leave
            super().handle_error(request, client_address)


@contextmanager
def serving(gateway: Gateway) -> Iterator[str]:
    """The gateway's address."""
    handler = type("Handler", (_Handler,), {"gateway": gateway})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
