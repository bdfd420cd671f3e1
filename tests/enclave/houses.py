"""An enclave as a container sees it: the program on a simulated security module, real TLS on a real socket, and the
local KMS behind it.

with kms_process(folder) as kms:
    with enclave(kms, folder) as house:
        with house.connect() as line:
            line.greet()
            plaintext = line.opened(house.ticket(blob, mode="hpke"), blob)
"""

import contextlib
import datetime
import hashlib
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from emulators.security_module import Authority, SimulatedSecurityModule
from enclave import listener
from enclave.attested_kms import AttestedKms, Recipient
from enclave.configuration import Configuration
from enclave.conversation import Conversation, Services
from enclave.epochs import Epochs
from enclave.exchanges import Opener
from enclave.identity import Identity
from enclave.journal import Journal
from enclave.questions import Questions
from enclave.replays import ReplayMemory
from enclave.server import Server
from local.sealing import SealingFiles
from sealed import hpke, ticket
from sealed.arn import KeyArn
from sealed.frames import Reader, frame
from sealed.ticket import Claims
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
TICKET_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"gateway").digest())

HELLO, OPEN, SEAL, DROP, ASK = 1, 2, 3, 4, 5
DOCUMENT, OPENED, SEALED, DROPPED, TOLD, REFUSED = 0x81, 0x82, 0x83, 0x84, 0x85, 0xFF


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Refusal(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Kms:
    """The local KMS, and a client of it who may do everything."""

    def __init__(self, told: Mapping[str, str], files: SealingFiles, records: Path) -> None:
        self.url = told["url"]
        self.files = files
        self.module = SimulatedSecurityModule(Authority.read(files.authority.read_bytes()), clock=now_ms)
        self.recipient = Recipient(self.module)
        self._records = records
        self._session = botocore.session.Session()
        self._session.set_credentials(told["access_key_id"], told["secret_access_key"])
        self.credentials = {
            "AWS_ACCESS_KEY_ID": told["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": told["secret_access_key"],
        }
        self.client: Any = self._session.create_client(
            "kms", REGION, endpoint_url=self.url, config=Config(retries={"total_max_attempts": 1})
        )

    def key(self) -> str:
        """A new key's ARN."""
        arn: str = self.client.create_key()["KeyMetadata"]["Arn"]
        return arn

    def encrypt(self, arn: str, plaintext: bytes, **context: str) -> bytes:
        blob: bytes = self.client.encrypt(KeyId=arn, Plaintext=plaintext, EncryptionContext=context)["CiphertextBlob"]
        return blob

    def calls(self) -> int:
        """How many the KMS has answered so far."""
        return len(self._records.read_bytes().splitlines())


@contextlib.contextmanager
def kms_process(folder: Path) -> Iterator[Kms]:
    files = SealingFiles(folder / "sealing")
    records = folder / "records"
    told, tell = os.pipe()
    command = [sys.executable, "-m", "emulators.kms", "--attestation-root", str(files.root), "--records", str(records)]
    process = subprocess.Popen([*command, "--ready-fd", str(tell)], pass_fds=[tell], cwd=ROOT)
    os.close(tell)
    try:
        with os.fdopen(told) as ready:
            line = ready.readline()
        assert line, "the KMS did not start"
        yield Kms(json.loads(line), files, records)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        files.close()


class Line:
    """A connection to the enclave, as a container has it."""

    def __init__(self, path: Path, certificate: Path | None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate:
            context.load_cert_chain(certificate)
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(PATIENCE_S)
        plain.connect(str(path))
        self.tls = context.wrap_socket(plain)
        self._reader = Reader()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.tls.close()

    def greet(self, nonce: bytes = bytes(32)) -> bytes:
        return self.ask(HELLO, nonce)

    def opened(self, signed: bytes, blob: bytes) -> bytes:
        return self.ask(OPEN, with_ticket(signed, blob))

    def sealed(self, piece: bytes, *, final: bool = True) -> bytes:
        return self.ask(SEAL, bytes([final]) + piece)

    def told(self, signed: bytes, body: bytes) -> Any:
        return json.loads(self.ask(ASK, with_ticket(signed, body)))

    def drop(self) -> None:
        assert self.ask(DROP, b"") == b""

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The answer's payload. Raises Refusal, ConnectionError."""
        self.tls.sendall(frame(kind, payload))
        answer, told = self.receive()
        if answer == REFUSED:
            raise Refusal(**json.loads(told))
        assert answer == kind | 0x80
        return told

    def receive(self) -> tuple[int, bytes]:
        while received := self.tls.recv(65_536):
            for answer in self._reader.feed(received):
                return answer
        raise ConnectionError("the enclave has closed the connection")

    def is_closed(self) -> bool:
        """Once the enclave has closed it; waits for that."""
        try:
            return self.tls.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True


class TestedEnclave:
    """One enclave, serving on threads of this process."""

    __test__ = False

    def __init__(
        self,
        kms: Kms,
        socket_path: Path,
        *,
        kms_url: str = "",
        container: Path | None = None,
        most_connections: int = 32,
        most_remembered: int = 1_000,
        greeting_s: float = PATIENCE_S,
    ) -> None:
        self.kms = kms
        self.path = socket_path
        self.platform_key = kms.key()
        self.key = kms.key()
        self.drift_ms = 0  # by how much its clock is ahead
        self.journal = io.StringIO()
        configuration = Configuration(
            ticket_keys=(TICKET_KEY.public_key().public_bytes_raw(),),
            container_certificates=(certificate_of(container or kms.files.container),),
            platform_key_arn=self.platform_key,
            regions=(REGION,),
        )
        attested = AttestedKms((REGION,), {REGION: kms_url or kms.url}, kms.recipient)
        epochs = Epochs(attested, KeyArn.parse(self.platform_key), self._now_ms)
        remembered = [ReplayMemory(most_remembered) for _ in range(2)]
        opener = Opener(attested, epochs, self._now_ms, by_kms=remembered[0], by_epoch=remembered[1])
        identity = Identity(configuration.container_certificates, datetime.datetime.now(datetime.UTC))
        journal = Journal(self.journal)
        services = Services(
            questions=Questions(kms.module, opener, epochs),
            opener=opener,
            gateway_keys=configuration.gateway_keys,
            identity=identity.digest,
            journal=journal,
            now_ms=self._now_ms,
        )
        self.server = Server(
            listener.listen(f"unix:{socket_path}"),
            identity,
            lambda: Conversation(services),
            journal,
            most=most_connections,
            greeting_s=greeting_s,
        )
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def close(self) -> None:
        self.server.stop()
        self.thread.join()

    def connect(self, certificate: Path | None = None) -> Line:
        return Line(self.path, certificate or self.kms.files.container)

    def greeted(self) -> Line:
        line = self.connect()
        line.greet()
        return line

    def ticket(self, body: bytes, **said: Any) -> bytes:
        return ticket.sign(self.claims(body, **said), TICKET_KEY)

    def ruled(self, blob: bytes, rules: bytes, **said: Any) -> tuple[bytes, bytes]:
        """A ticket that names rules, and what goes with it."""
        named = {"rules_sha256": hashlib.sha256(rules).hexdigest(), **said}
        return self.ticket(blob, **named), ticket.with_rules(rules, blob)

    def claims(self, body: bytes, **said: Any) -> Claims:
        usual = Claims(
            use="run",
            tenant="acme",
            mode="hpke",
            key_arn=self.key,
            request_id="request-1",
            pool="demo",
            operation="chat.completions",
            surface="openai",
            stream=False,
            ceiling_tokens=256,
            body_sha256=hashlib.sha256(body).hexdigest(),
            expires_ms=now_ms() + 120_000,
        )
        return msgspec.structs.replace(usual, **said)

    def outcomes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.getvalue().splitlines()]

    def epoch(self, name: str = "e-1", lives_ms: int = 3_600_000) -> hpke.KeyConfiguration:
        """A new key epoch, as the gateway begins one and a client learns it."""
        with self.greeted() as line:
            return self.epoch_of(line, name, lives_ms)

    def epoch_of(self, line: Line, name: str = "e-1", lives_ms: int = 3_600_000) -> hpke.KeyConfiguration:
        """The same, of the enclave at the other end of this line."""
        expires_ms = now_ms() + lives_ms
        body = json.dumps({"epoch": name, "expires_ms": expires_ms}).encode()
        token = line.told(self.ticket(body, use="epoch", mode=""), body)["token"]
        about = {"epoch": name, "expires_ms": expires_ms, "token": token}
        body = json.dumps({"nonce": "bm9uY2U=", "configuration": about}).encode()
        told = line.told(self.ticket(body, use="attest", mode=""), body)
        return hpke.KeyConfiguration.parse(json.dumps(told["configuration"]).encode())

    def _now_ms(self) -> int:
        return now_ms() + self.drift_ms


@contextlib.contextmanager
def enclave(kms: Kms, folder: Path, **settings: Any) -> Iterator[TestedEnclave]:
    path = Path(kms.files.socket).with_name(hashlib.sha256(str(folder).encode()).hexdigest()[:16])
    house = TestedEnclave(kms, path, **settings)
    try:
        yield house
    finally:
        house.close()
    assert "fault" not in [told["outcome"] for told in house.outcomes()]


def with_ticket(signed: bytes, body: bytes) -> bytes:
    return len(signed).to_bytes(2) + signed + body


def certificate_of(identity: Path) -> str:
    return identity.read_text().partition("-----BEGIN PRIVATE")[0]
