"""The enclave, put together: the only place that knows which parts it is made of."""

import datetime
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from enclave.attested_kms import AttestedKms, Recipient, host_names
from enclave.configuration import Configuration
from enclave.conversation import Conversation, Services
from enclave.epochs import Epochs
from enclave.exchanges import Opener
from enclave.forwarder import forward_kms_and_imds
from enclave.identity import Identity
from enclave.journal import Journal
from enclave.questions import Questions
from enclave.replays import ReplayMemory
from enclave.security_module import SecurityModule
from enclave.server import Server

ENTROPY = Path("/dev/urandom")


def serve(
    configuration: Configuration, module: SecurityModule, listener: socket.socket, ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once containers are answered.

    Raises ModuleFailed, NoCredentials, OSError, ValueError where it cannot start.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # memory is for nobody's eyes, not even after a crash
    ENTROPY.write_bytes(module.random())  # mixed in before the first key is made
    server = assemble(configuration, module, listener)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    ready()
    server.serve()


def assemble(configuration: Configuration, module: SecurityModule, listener: socket.socket) -> Server:
    journal = Journal()
    identity = Identity(configuration.container_certificates, datetime.datetime.now(datetime.UTC))
    if configuration.parent_ports:
        forward_kms_and_imds(configuration.parent_ports, host_names(configuration.regions))
    kms = AttestedKms(configuration.regions, configuration.kms_endpoints, Recipient(module))
    epochs = Epochs(kms, configuration.platform_key, _now_ms)
    opener = Opener(kms, epochs, _now_ms, by_kms=ReplayMemory(), by_epoch=ReplayMemory())
    services = Services(
        questions=Questions(module, opener, epochs),
        opener=opener,
        gateway_keys=configuration.gateway_keys,
        identity=identity.digest,
        journal=journal,
        now_ms=_now_ms,
    )
    return Server(listener, identity, lambda: Conversation(services), journal)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
