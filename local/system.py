"""The local system: starts everything at once, says when it is healthy, and stops it all.

What ends is started again, and finds its port, its keys and its data as they were. Only where the gateway, the cloud,
the scheduler, the enclave or the local Bedrock ends again and again, the system ends, too. A container that was told to
stop stays stopped, and within the minute `/health` says so.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from emulators.clock import now_ms
from emulators.http_exchange import ExchangeFailed, exchange
from emulators.sagemaker_runtime import endpoints
from emulators.sockets import listen, reserve, url
from enclave import listener
from local import environment, layout, processes
from local.port import listen_or_say
from local.sealing import PCR0, SealingFiles
from local.state import StateDirectory, write_privately
from local.supervisor import Part, Stopped, Supervisor

__all__ = ["CannotStart", "Ready", "Stopped", "System"]

EPOCH_LASTS_MS = 86_400_000  # what is left of a key epoch must be at least as much, or another is begun
START_DEADLINE_S = 90
POLL_S = 0.05
PORTS = range(20_000, 30_000)
"""Of the cloud: none of those that systems give to whoever asks for any, who would have it at the next start."""
TRIES = 100
DRAIN_S = 8
CONTAINER_GRACE_S = 3
BEHIND_THE_GATEWAY = ("cloud", "enclave", "bedrock", *(f"container-{each.name}" for each in layout.CONTAINERS))
_OURS = {"user-agent": layout.USER_AGENT}

T = TypeVar("T")


class CannotStart(Exception):
    """The text is one sentence for the person at the terminal."""


class Ready(NamedTuple):
    """What a person needs to know of a running system."""

    base_url: str
    tenant: str
    api_key: str
    person: str
    password: str
    seconds: float  # it took to start


class System:
    """Use as: `await start()`, `await run()`, and in any case `await stop()`."""

    def __init__(self, port: int, state: StateDirectory, screen: int | None = None) -> None:
        """`screen`: a descriptor that takes a line for each request of the gateway."""
        self._state = state
        self._screen = screen
        self._began = time.monotonic()
        self._starting: list[asyncio.Task[Any]] = []
        self._supervisor = Supervisor(state.logs, self._write_processes)
        self._gateway_socket = listen_or_say(port)
        self._cloud_socket = _listen_again(state.cloud_port)
        self._bedrock_socket = listen(0)
        self._bedrock_url = url(self._bedrock_socket)
        self._bedrock_key = f"local-{secrets.token_urlsafe(24)}"
        self._base_url = url(self._gateway_socket)
        self._reserved = {container.name: reserve() for container in layout.CONTAINERS}
        self._container_urls = {name: url(held) for name, held in self._reserved.items()}
        self._sealing = SealingFiles(state.sealing)
        self._enclave_socket = listener.listen(f"unix:{self._sealing.socket}")
        self._waiting_for = "its processes"

    async def start(self) -> Ready:
        """Everything up and healthy. Raises CannotStart, Stopped."""
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                return await self._start()
        except TimeoutError:
            raise CannotStart(
                f"After {START_DEADLINE_S} s the system still waits for {self._waiting_for}; "
                f"the logs are in {self._state.logs}."
            ) from None

    async def run(self) -> None:
        """Watches; ends only by being cancelled, or with Stopped."""
        await self._supervisor.watch()

    async def stop(self) -> None:
        """Stops every process; the gateway before what it needs, so that it may finish what it has begun."""
        # First nobody may start any more: what is started after the look at what runs would be left behind.
        await self._supervisor.let_go()
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for held in (self._gateway_socket, self._cloud_socket, self._bedrock_socket, self._enclave_socket):
            held.close()  # or who connects from now on would wait for nobody
        everything = list(self._supervisor.running.values())
        behind = [process for process in everything if process.name in BEHIND_THE_GATEWAY]
        await processes.stop([process for process in everything if process not in behind], DRAIN_S)
        await processes.stop(behind, CONTAINER_GRACE_S + 2)
        self._sealing.close()

    def kill(self) -> None:
        for process in self._supervisor.running.values():
            process.signal(signal.SIGKILL)

    async def _start(self) -> Ready:
        supervisor = self._supervisor
        endpoints.write(layout.endpoints(self._container_urls), self._state.endpoints)
        write_privately(self._state.bedrock_keys, json.dumps({"bearers": [{"key": self._bedrock_key}]}))
        containers = [self._container(container) for container in layout.CONTAINERS]
        cloud, bedrock = self._cloud(), self._bedrock()
        opening = self._begin(supervisor.start(cloud))
        beginning = [self._begin(supervisor.start(bedrock))]
        if not layout.embedding_model_exists():
            await supervisor.unless_one_ends(supervisor.do(_embedding_model()))
        for container in containers:
            await supervisor.start(container)
        account = await supervisor.unless_one_ends(opening)
        enclave, gateway, scheduler = self._enclave(account), self._gateway(account), self._scheduler(account)
        beginning += [self._begin(supervisor.start(part)) for part in (enclave, gateway)]
        keys = await supervisor.unless_one_ends(supervisor.do(self._bootstrap(account)))
        for begun in beginning:
            await supervisor.unless_one_ends(begun)
        await supervisor.unless_one_ends(self._ready())
        # Last, because it asks the targets at once how they are, and they shall be there.
        await supervisor.unless_one_ends(self._begin(supervisor.start(scheduler)))
        await supervisor.unless_one_ends(self._begin_key_epoch(keys["admin_key"]))
        supervisor.keep((cloud, bedrock, enclave, gateway, scheduler), containers)
        self._write_processes()
        self._write_env(keys, account)
        person = (keys["person_email"], keys["person_password"])
        return Ready(self._base_url, keys["tenant"], keys["api_key"], *person, time.monotonic() - self._began)

    def _begin(self, starting: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(starting)
        self._starting.append(task)
        return task

    # What runs. What the cloud says when it is ready is its account's (see `local.account`), and its URL.

    def _cloud(self) -> Part:
        options = ("--endpoints", str(self._state.endpoints), "--attestation-root", str(self._sealing.root))
        records = ("--records", str(self._state.logs / "kms-records.log"), "--kept", str(self._state.cloud))
        people = ("--people", str(self._state.people), "--gateway", self._base_url, "--mails", str(self._state.mails))
        command = ("-m", "local.cloud", *options, *records, *people)
        return Part("cloud", command, environment.aws(os.environ), self._cloud_socket)

    def _bedrock(self) -> Part:
        options = ("--model-url", f"{self._container_urls['demo']}/v1", "--keys", str(self._state.bedrock_keys))
        guardrails = ("--account", layout.BEDROCK_ACCOUNT, "--guardrails", str(layout.GUARDRAILS))
        command = ("-m", "emulators.bedrock", *options, *guardrails)
        return Part("bedrock", command, environment.aws(os.environ), self._bedrock_socket)

    def _container(self, container: layout.Container) -> Part:
        port = self._reserved[container.name].getsockname()[1]
        command = ["-m", "serving", "--host", "127.0.0.1", "--port", str(port), "--grace-s", str(CONTAINER_GRACE_S)]
        command += ["--instance-id", f"local-{container.name}", *container.arguments]
        if container.sealed:
            files = self._sealing
            command += ["--enclave", f"unix:{files.socket}", "--enclave-identity", str(files.container)]
            command += ["--enclave-root", str(files.root), "--enclave-pcr", f"0={PCR0}"]
        return Part(f"container-{container.name}", tuple(command), environment.container(os.environ), reports=False)

    def _enclave(self, account: Mapping[str, str]) -> Part:
        files = self._sealing
        files.configure(
            ticket_key=account["ticket_key"],
            platform_key_arn=account["platform_key_arn"],
            region=layout.REGION,
            kms_endpoint=account["url"],
        )
        options = ("--configuration", str(files.configuration), "--authority", str(files.authority))
        env = environment.enclave(os.environ, account)
        return Part("enclave", ("-m", "local.enclave", *options), env, self._enclave_socket)

    def _gateway(self, account: Mapping[str, str]) -> Part:
        lines = () if self._screen is None else (self._screen,)
        options = [each for screen in lines for each in ("--lines-fd", str(screen))]
        env = environment.gateway(os.environ, account, self._bedrock_url, self._base_url)
        return Part("gateway", ("-m", "local.gateway", *options), env, self._gateway_socket, lines)

    def _scheduler(self, account: Mapping[str, str]) -> Part:
        env = environment.gateway(os.environ, account, self._bedrock_url, self._base_url)
        return Part("scheduler", ("-m", "local.scheduler"), env)

    def _bootstrap(self, account: Mapping[str, str]) -> Part:
        """It says the tenant, its keys and its people."""
        known = ("--endpoints", str(self._state.endpoints), "--kms-key", account["tenant_key_arn"])
        others = ("--principal", account["govcloud_arn"], "--keys", str(self._state.keys))
        people = ("--issuer", account["issuer"])
        env = environment.bootstrap(os.environ, account, self._bedrock_url, self._base_url, self._bedrock_key)
        return Part("bootstrap", ("-m", "local.bootstrap", *known, *others, *people), env)

    # When it is ready, and what is said of it

    async def _ready(self) -> None:
        """Until every container answers a ping and the gateway says that it can serve."""
        asked = [(f"container {name}", held, "/ping") for name, held in self._container_urls.items()]
        for name, where, path in [*asked, ("gateway", self._base_url, "/ready")]:
            while (status := await _status(where, path)) != 200:
                self._waiting_for = f"the {name}, whose {path} answers {status or 'nothing'}"
                await asyncio.sleep(POLL_S)

    async def _begin_key_epoch(self, admin_key: str) -> None:
        """As an operator does: clients of mode hpke seal to its keys. One of an earlier start is as good."""
        self._waiting_for = "a key epoch, which POST /admin/key-epochs begins"
        headers = {**_OURS, "authorization": f"Bearer {admin_key}", "content-type": "application/json"}
        async with exchange(self._base_url, "GET", "/admin/key-epochs", headers) as reply:
            listed = json.loads(await reply.read())
        if any(epoch["expires_ms"] > now_ms() + EPOCH_LASTS_MS for epoch in listed.get("epochs", ())):
            return
        async with exchange(self._base_url, "POST", "/admin/key-epochs", headers, b"{}") as reply:
            answer = await reply.read()
        if reply.status != 201:
            raise CannotStart(f"No enclave began a key epoch: {answer.decode(errors='replace')}")

    def _write_env(self, keys: Mapping[str, str], account: Mapping[str, str]) -> None:
        self._state.write_env(
            {
                "CLOISTER_BASE_URL": self._base_url,
                "CLOISTER_TENANT": keys["tenant"],
                "CLOISTER_API_KEY": keys["api_key"],
                "CLOISTER_ADMIN_KEY": keys["admin_key"],
                "CLOISTER_PERSON_EMAIL": keys["person_email"],
                "CLOISTER_PERSON_PASSWORD": keys["person_password"],
                "CLOISTER_VIEWER_EMAIL": keys["viewer_email"],
                "CLOISTER_VIEWER_PASSWORD": keys["viewer_password"],
                "CLOISTER_ISSUER": account["issuer"],
                "CLOISTER_ISSUER_CLIENT_IDS": account["client_ids"],
                "CLOISTER_ISSUER_SCOPES": account["machine_scope"],
                "CLOISTER_KMS_KEY_ARN": account["tenant_key_arn"],
                "CLOISTER_AUDIT_KEY": account["audit_key_arn"],
                "CLOISTER_ATTESTATION_ROOT": str(self._sealing.root),
                "CLOISTER_LOCAL_BEDROCK_URL": self._bedrock_url,
                "CLOISTER_PCR0": PCR0,
                "CLOISTER_GOVCLOUD_REGION": layout.GOVCLOUD_REGION,
                "CLOISTER_GOVCLOUD_ACCESS_KEY_ID": account["govcloud_access_key_id"],
                "CLOISTER_GOVCLOUD_SECRET_ACCESS_KEY": account["govcloud_secret_access_key"],
                "CLOISTER_GOVCLOUD_DENIED_ACCESS_KEY_ID": account["govcloud_denied_access_key_id"],
                "CLOISTER_GOVCLOUD_DENIED_SECRET_ACCESS_KEY": account["govcloud_denied_secret_access_key"],
                **environment.operator(account),
            }
        )

    def _write_processes(self) -> None:
        running = self._supervisor.running.items()
        self._state.write_processes({name: held.pid for name, held in running if held.running})


def _listen_again(kept: Path) -> socket.socket:
    """On the port of the last start; where somebody else has it now on another, which is remembered in its place."""
    ports = [secrets.choice(PORTS) for _ in range(TRIES)]
    with suppress(FileNotFoundError, ValueError):
        ports.insert(0, int(kept.read_text()))
    for port in ports:
        with suppress(OSError):
            listening = listen(port)
            kept.write_text(str(port))
            return listening
    raise CannotStart(f"None of {TRIES} ports between {PORTS[0]} and {PORTS[-1]} can be listened on.")


def _embedding_model() -> Part:
    command = ("-m", "local.embedding_model", str(layout.EMBEDDING_MODEL))
    return Part("embedding-model", command, environment.machine(os.environ), reports=False)


async def _status(url: str, path: str) -> int:
    """The HTTP status, or 0 where nobody answers."""
    with suppress(ExchangeFailed):
        async with exchange(url, "GET", path, _OURS) as reply:
            await reply.read()
            return reply.status
    return 0
