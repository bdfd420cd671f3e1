"""A tenant who seals, and what stands behind the container: the enclave's own program and the local KMS."""

import base64
import hashlib
import io
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import boto3
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.sealing import PCR0, SealingFiles
from sealed import esdk, hpke, kms_mode, ticket
from sealed.frames import Reader
from sealed.hpke import KeyConfiguration
from sealed.ticket import Claims
from serving.settings import EnclaveSettings
from tests.images.houses import ROOT, Client

MEDIA_TYPE = "application/vnd.cloister.sealed"
CONTENT = {"content-type": MEDIA_TYPE}
WAITING, STARTED, PIECE, FINISHED, REFUSED = range(0x11, 0x16)
REGION = "us-east-1"
TENANT = "acme"
POOL = "a pool's name"


class Sealed:
    """A request as the gateway hands it to the container, and what only its tenant can do with the answer."""

    def __init__(self, body: bytes, opened: Callable[[bytes], bytes]) -> None:
        self.body = body
        self.opened = opened


class Program:
    """One of our own processes. The first line of its standard output says that it is ready; `said` is the rest."""

    def __init__(self, *command: str, environ: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        self.told = json.loads(self._process.stdout.readline())
        self.said: list[Any] = []
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,))
        self._listener.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()

    def _listen(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self.said.append(json.loads(line))


class Backstage:
    """An enclave's KMS, the files by which all trust each other, a gateway's key and a tenant's. `enclave` runs one."""

    def __init__(self, folder: Path) -> None:
        self.files = SealingFiles(folder)
        self._kms_program = Program("-m", "emulators.kms", "--attestation-root", str(self.files.root))
        told = self._kms_program.told
        credentials = {"aws_access_key_id": told["access_key_id"], "aws_secret_access_key": told["secret_access_key"]}
        self.kms = boto3.client("kms", region_name=REGION, endpoint_url=told["url"], **credentials)
        self.key_arn: str = self.kms.create_key()["KeyMetadata"]["Arn"]
        self._environ = {name.upper(): value for name, value in credentials.items()}
        self.gateway = Ed25519PrivateKey.generate()
        self.files.configure(
            ticket_key=base64.b64encode(self.gateway.public_key().public_bytes_raw()).decode(),
            platform_key_arn=self.kms.create_key()["KeyMetadata"]["Arn"],
            region=REGION,
            kms_endpoint=told["url"],
        )

    def close(self) -> None:
        self._kms_program.kill()
        self.files.close()

    def enclave(self, name: str = "enclave") -> Program:
        """The enclave's own program, on a simulated security module. `name`, of its socket, tells several apart."""
        files = self.files
        where = ("--socket", str(files.socket.with_name(name)), "--configuration", str(files.configuration))
        command = ("-m", "local.enclave", *where, "--authority", str(files.authority), "--ready-fd", "1")
        return Program(*command, environ=self._environ)

    def settings(self, name: str = "enclave", pcr0: str = PCR0) -> EnclaveSettings:
        """For a container that trusts it, and the next release."""
        address = f"unix:{self.files.socket.with_name(name)}"
        return EnclaveSettings(address, self.files.container, self.files.root, (f"0={'ab' * 48}", f"0={pcr0}"))

    def flags(self) -> list[str]:
        """The same, for a container that is a process of its own."""
        files = self.files
        who = ["--enclave", f"unix:{files.socket}", "--enclave-identity", str(files.container)]
        return [*who, "--enclave-root", str(files.root), "--enclave-pcr", f"0={PCR0}"]

    def permitted(self, body: bytes, **claims: Any) -> bytes:
        """What the gateway sends: its ticket for this body, the `rules` that it names, and the body."""
        rules = claims.pop("rules", b"")
        nothing = Claims("run", TENANT, "", "", "", "", "", "", False, 0, "", 0)
        said = {"body_sha256": hashlib.sha256(body).hexdigest(), "expires_ms": time.time_ns() // 1_000_000 + 60_000}
        if rules:
            said["rules_sha256"] = hashlib.sha256(rules).hexdigest()
        signed = ticket.sign(msgspec.structs.replace(nothing, **(said | claims)), self.gateway)
        return len(signed).to_bytes(2) + signed + (ticket.with_rules(rules, body) if rules else body)

    def ask(self, container: Client, use: str, body: object, **claims: Any) -> Any:
        """A question of the gateway to the enclave, through the container."""
        question = self.permitted(json.dumps(body).encode(), use=use, **claims)
        answer = container.call("POST", "/v1/enclave", question, CONTENT)
        assert answer.status == 200, answer.body
        return answer.json

    def key_configuration(self, container: Client) -> KeyConfiguration:
        """The keys of a new epoch, for mode hpke."""
        epoch = {"epoch": f"e-{secrets.token_hex(4)}", "expires_ms": time.time_ns() // 1_000_000 + 600_000}
        epoch |= self.ask(container, "epoch", epoch)
        told = self.ask(container, "attest", {"nonce": "", "configuration": epoch})
        return KeyConfiguration.parse(json.dumps(told["configuration"]).encode())

    def seal(self, container: Client, mode: str, request: object, **claims: Any) -> Sealed:
        """`request` as the tenant seals it in this mode, for one call; `claims` are what else its ticket says."""
        plaintext = request if isinstance(request, bytes) else json.dumps(request).encode()
        request_id = f"r-{secrets.token_hex(8)}"
        said: dict[str, Any] = {"mode": mode, "request_id": request_id, "pool": POOL, "operation": "chat.completions"}
        said |= {"surface": "openai", "ceiling_tokens": 64, "key_arn": "" if mode == "hpke" else self.key_arn}
        blob, opened = self._sealed(container, mode, plaintext, request_id)
        return Sealed(self.permitted(blob, **(said | claims)), opened)

    def _sealed(
        self, container: Client, mode: str, plaintext: bytes, request_id: str
    ) -> tuple[bytes, Callable[[bytes], bytes]]:
        if mode == "hpke":
            keys = self.key_configuration(container)
            wire, opener = hpke.seal_request(keys, tenant=TENANT, request_id=request_id, pool=POOL, plaintext=plaintext)
            return wire, lambda answer: _read_by_hpke(opener, answer)
        if mode == "esdk":
            context = esdk.request_context(tenant=TENANT, request_id=request_id)
            back = esdk.response_context(tenant=TENANT, request_id=request_id)
            message = esdk.seal(self.kms, self.key_arn, context, plaintext)
            return message, lambda answer: b"".join(
                esdk.Opener(self.kms, self.key_arn, back, io.BytesIO(answer)).pieces()
            )
        blob = self.kms.encrypt(KeyId=self.key_arn, Plaintext=plaintext)["CiphertextBlob"]
        nonce = json.loads(plaintext).get("nonce")
        return blob, lambda answer: kms_mode.checked(
            self.kms.decrypt(CiphertextBlob=answer)["Plaintext"], nonce=nonce, blob=blob
        )


def _read_by_hpke(opener: hpke.ResponseOpener, answer: bytes) -> bytes:
    plaintext = b"".join(opener.feed(answer))
    opener.finish()
    return plaintext


class Frames:
    """A sealed answer that was read to its end, taken apart."""

    def __init__(self, body: bytes) -> None:
        reader = Reader()
        self.all = list(reader.feed(body))
        assert not reader.pending
        self.kinds = [kind for kind, _ in self.all]
        pieces = [payload for kind, payload in self.all if kind == PIECE]
        self.sealed = b"".join(piece[2:] for piece in pieces)
        self.tokens = [int.from_bytes(piece[:2]) for piece in pieces]

    def told(self, kind: int) -> Any:
        return next(json.loads(payload) for each, payload in self.all if each == kind)


def frames(response: Any) -> Iterator[tuple[int, bytes]]:
    """The frames of an answer, each as it arrives."""
    reader = Reader()
    while data := response.read1(65536):
        yield from reader.feed(data)


@contextmanager
def backstage(folder: Path) -> Iterator[Backstage]:
    each = Backstage(folder)
    try:
        yield each
    finally:
        each.close()


@contextmanager
def running(program: Program) -> Iterator[Program]:
    try:
        yield program
    finally:
        program.kill()
