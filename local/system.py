"""The local system: starts everything at once, says when it is healthy, and stops it all.

The gateway, the cloud and the scheduler end the system when they end; a container that crashes is started again,
one that was told to stop stays stopped, and within the minute `/health` says so.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from emulators.clock import now_ms
from emulators.http_exchange import ExchangeFailed, exchange
from emulators.sagemaker_runtime import endpoints
from emulators.sockets import LOOPBACK, listen, reserve, url
from local import layout, processes
from local.account import TICKET_SECRET
from local.port import listen_or_say
from local.processes import Process
from local.sealing import PCR0, SealingFiles
from local.state import StateDirectory

EPOCH_LASTS_MS = 86_400_000  # what is left of a key epoch must be at least as much, or another is begun
START_DEADLINE_S = 90
POLL_S = 0.05
LOOK_AROUND_S = 0.5  # how soon a process that was started meanwhile is watched, too
RESTART_PAUSE_S = 1.0
RESTART_PAUSE_MOST_S = 30.0
DRAIN_S = 8
CONTAINER_GRACE_S = 3
TOLD_TO_STOP = {0, -signal.SIGTERM}  # the second one where the signal came before the container listened to it
_OURS = {"user-agent": layout.USER_AGENT}
PASSING = {"bootstrap", "embedding-model"}

T = TypeVar("T")


class CannotStart(Exception):
    """The text is one sentence for the person at the terminal."""


class Stopped(Exception):
    """A process that the system cannot be without has ended. The text is one sentence."""


class Ready(NamedTuple):
    """What a person needs to know of a running system."""

    base_url: str
    tenant: str
    api_key: str
    seconds: float  # it took to start


class System:
    """Use as: `await start()`, `await run()`, and in any case `await stop()`."""

    def __init__(self, port: int, state: StateDirectory, screen: int | None = None) -> None:
        """`screen`: a descriptor that takes a line for each request of the gateway."""
        self._state = state
        self._screen = screen
        self._began = time.monotonic()
        self._running: dict[str, Process] = {}
        self._starting: list[asyncio.Task[Any]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._gateway_socket = listen_or_say(port)
        self._cloud_socket = listen(0)
        self._bedrock_socket = listen(0)
        self._bedrock_url = url(self._bedrock_socket)
        self._base_url = url(self._gateway_socket)
        self._reserved = {container.name: reserve() for container in layout.CONTAINERS}
        self._container_urls = {name: url(held) for name, held in self._reserved.items()}
        self._env = _environment()
        self._sealing = SealingFiles(state.sealing)
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
        await self._unless_one_ends(asyncio.Event().wait())

    async def stop(self) -> None:
        """Stops every process; the gateway before what it needs, so that it may finish what it has begun."""
        # First nobody may start any more: what is started after the look at what runs would be left behind.
        for task in (beginning := [*self._watchers, *self._starting]):
            task.cancel()
        await asyncio.gather(*beginning, return_exceptions=True)
        everything = list(self._running.values())
        behind = [
            process
            for process in everything
            if process.name in ("cloud", "enclave", "bedrock") or _is_container(process)
        ]
        await processes.stop([process for process in everything if process not in behind], DRAIN_S)
        await processes.stop(behind, CONTAINER_GRACE_S + 2)
        self._sealing.close()

    def kill(self) -> None:
        for process in self._running.values():
            process.signal(signal.SIGKILL)

    async def _start(self) -> Ready:
        endpoints.write(layout.endpoints(self._container_urls), self._state.endpoints)
        cloud = self._begin(self._start_cloud())
        bedrock = self._begin(self._start_bedrock())
        if not layout.embedding_model_exists():
            await self._unless_one_ends(self._convert_embedding_model())
        for container in layout.CONTAINERS:
            await self._start_container(container)
        account = await self._unless_one_ends(cloud)
        self._env |= {
            "AWS_ENDPOINT_URL": account["url"],
            "AWS_ENDPOINT_URL_BEDROCK": self._bedrock_url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self._bedrock_url,
            "AWS_ACCESS_KEY_ID": account["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": account["secret_access_key"],
            "CLOISTER_TICKET_SECRET": TICKET_SECRET,
            "CLOISTER_AUDIT_KEY": account["audit_key_arn"],
            "CLOISTER_CONTENT_KEY": account["content_key_arn"],
        }
        enclave = self._begin(self._start_enclave(account))
        gateway = self._begin(self._start_gateway())
        bedrock_key = (await self._unless_one_ends(bedrock))["bearer"]
        keys = await self._unless_one_ends(self._bootstrap(account, bedrock_key))
        for starting in (gateway, enclave):
            await self._unless_one_ends(starting)
        await self._unless_one_ends(self._ready())
        # Last, because it asks the targets at once how they are, and they shall be there.
        await self._unless_one_ends(self._begin(self._start_module("scheduler", "local.scheduler")))
        await self._unless_one_ends(self._begin_key_epoch(keys["admin_key"]))
        self._watchers = [asyncio.create_task(self._keep_running(container)) for container in layout.CONTAINERS]
        self._write_state(keys, account)
        return Ready(self._base_url, keys["tenant"], keys["api_key"], time.monotonic() - self._began)

    def _begin(self, starting: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(starting)
        self._starting.append(task)
        return task

    async def _start_cloud(self) -> dict[str, str]:
        """Returns what `local.account` has made, and the cloud's URL."""
        options = ("--endpoints", str(self._state.endpoints), "--attestation-root", str(self._sealing.root))
        records = ("--records", str(self._state.logs / "kms-records.log"), "--kept", str(self._state.cloud))
        return await self._start_module("cloud", "local.cloud", *options, *records, listening=self._cloud_socket)

    async def _start_bedrock(self) -> dict[str, str]:
        """Returns what opens it, an API key among it."""
        model = ("--model-url", f"{self._container_urls['demo']}/v1")
        return await self._start_module("bedrock", "emulators.bedrock", *model, listening=self._bedrock_socket)

    async def _start_enclave(self, account: Mapping[str, str]) -> None:
        files = self._sealing
        files.configure(
            ticket_key=account["ticket_key"],
            platform_key_arn=account["platform_key_arn"],
            region=layout.REGION,
            kms_endpoint=account["url"],
        )
        options = ("--socket", str(files.socket), "--configuration", str(files.configuration))
        env = self._env | {
            "AWS_ACCESS_KEY_ID": account["enclave_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": account["enclave_secret_access_key"],
        }
        await self._start_module("enclave", "local.enclave", *options, "--authority", str(files.authority), env=env)

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

    async def _start_gateway(self) -> None:
        lines = [] if self._screen is None else [self._screen]
        options = [each for screen in lines for each in ("--lines-fd", str(screen))]
        await self._start_module(
            "gateway", "local.gateway", *options, listening=self._gateway_socket, descriptors=lines
        )

    async def _bootstrap(self, account: Mapping[str, str], bedrock_key: str) -> dict[str, str]:
        """Returns the tenant and its keys."""
        known = ("--endpoints", str(self._state.endpoints), "--kms-key", account["tenant_key_arn"])
        env = self._env | {"CLOISTER_BEDROCK_KEY": bedrock_key}  # not as an argument, which everybody sees
        others = ("--principal", account["govcloud_arn"], "--keys", str(self._state.keys))
        told = await self._start_module("bootstrap", "local.bootstrap", *known, *others, env=env)
        await self._end_of("bootstrap")
        return told

    async def _convert_embedding_model(self) -> None:
        command = [sys.executable, "-m", "local.embedding_model", str(layout.EMBEDDING_MODEL)]
        await self._start_process("embedding-model", command, self._env)
        await self._end_of("embedding-model")

    async def _start_container(self, container: layout.Container) -> None:
        port = self._reserved[container.name].getsockname()[1]
        command = [sys.executable, "-m", "serving", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--grace-s", str(CONTAINER_GRACE_S)]
        command += ["--instance-id", f"local-{container.name}", *container.arguments]
        if container.sealed:
            files = self._sealing
            command += ["--enclave", f"unix:{files.socket}", "--enclave-identity", str(files.container)]
            command += ["--enclave-root", str(files.root), "--enclave-pcr", f"0={PCR0}"]
        env = self._env | {"PYTHONPATH": str(layout.ROOT / "sagemaker")}
        await self._start_process(f"container-{container.name}", command, env)

    async def _start_module(
        self,
        name: str,
        module: str,
        *arguments: str,
        listening: socket.socket | None = None,
        env: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> dict[str, str]:
        """Start one of our own processes, and wait for the line of JSON that it writes when it is ready."""
        told, tell = os.pipe()
        inherited = [tell, *descriptors]
        command = [sys.executable, "-m", module, *arguments, "--ready-fd", str(tell)]
        if listening is not None:
            inherited.append(listening.fileno())
            command += ["--fd", str(listening.fileno())]
        try:
            process = await self._start_process(name, command, env or self._env, inherited)
        finally:
            os.close(tell)
            if listening is not None:
                listening.close()  # it is the child's now, and free again when the child ends
        line = await asyncio.get_running_loop().run_in_executor(None, _read_line, told)
        if not line:
            raise await _death(process)
        ready: dict[str, str] = json.loads(line)
        return ready

    async def _start_process(
        self, name: str, command: list[str], env: Mapping[str, str], descriptors: Sequence[int] = ()
    ) -> Process:
        log = self._state.logs / f"{name}.log"
        process = await processes.start(name, command, directory=layout.ROOT, env=env, log=log, descriptors=descriptors)
        self._running[name] = process
        return process

    async def _end_of(self, name: str) -> None:
        """Wait until a process that does one thing has done it. Raises Stopped when it failed."""
        process = self._running[name]
        if await process.end() != 0:
            raise await _death(process)
        del self._running[name]

    async def _ready(self) -> None:
        """Until every container answers a ping and the gateway says that it can serve."""
        asked = [(f"container {name}", held, "/ping") for name, held in self._container_urls.items()]
        for name, where, path in [*asked, ("gateway", self._base_url, "/ready")]:
            while (status := await _status(where, path)) != 200:
                self._waiting_for = f"the {name}, whose {path} answers {status or 'nothing'}"
                await asyncio.sleep(POLL_S)

    async def _unless_one_ends(self, wanted: Awaitable[T]) -> T:
        """The result of `wanted`. Raises Stopped when a process that is needed for it has ended."""
        task = asyncio.ensure_future(wanted)
        try:
            while not task.done():
                needed = {process.exited: process for process in self._running.values() if self._needed(process)}
                await asyncio.wait({task, *needed}, timeout=LOOK_AROUND_S, return_when=asyncio.FIRST_COMPLETED)
                for exited, process in needed.items():
                    if exited.done() and not task.done():
                        raise await _death(process)
            return task.result()
        finally:
            if task.cancel():
                await asyncio.wait({task})

    def _needed(self, process: Process) -> bool:
        """A container is needed to start, and may come and go later; a process that does one thing may end."""
        if _is_container(process):
            return not self._watchers
        return process.name not in PASSING

    async def _keep_running(self, container: layout.Container) -> None:
        name = f"container-{container.name}"
        pause_s = RESTART_PAUSE_S
        while True:
            process = self._running[name]
            began = time.monotonic()
            if await process.end() in TOLD_TO_STOP:
                _say(f"The {name} was told to stop, and stays so until the system is started again.")
                return
            # One that never lives long is given ever more time.
            pause_s = RESTART_PAUSE_S if time.monotonic() - began > 60 else min(2 * pause_s, RESTART_PAUSE_MOST_S)
            _say(f"The {name} {process.ended()}; it is started again in {pause_s:.0f} s.")
            await asyncio.sleep(pause_s)
            await self._start_container(container)
            self._write_processes()
            _say(f"The {name} runs again.")

    def _write_state(self, keys: Mapping[str, str], account: Mapping[str, str]) -> None:
        self._write_processes()
        self._state.write_env(
            {
                "CLOISTER_BASE_URL": self._base_url,
                "CLOISTER_TENANT": keys["tenant"],
                "CLOISTER_API_KEY": keys["api_key"],
                "CLOISTER_ADMIN_KEY": keys["admin_key"],
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
                **{name: self._env[name] for name in sorted(self._env) if name in _OF_THE_CLOUD},
            }
        )

    def _write_processes(self) -> None:
        self._state.write_processes({name: held.pid for name, held in self._running.items() if held.running})


# The region twice: boto3 reads only the second, other SDKs the first.
_OF_THE_CLOUD = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def _environment() -> dict[str, str]:
    """Ours, without whatever would lead an AWS client anywhere but to the local cloud."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    for name in ("no_proxy", "NO_PROXY"):
        env[name] = ",".join(filter(None, [env.get(name), LOOPBACK]))
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    here = {"AWS_REGION": layout.REGION, "AWS_DEFAULT_REGION": layout.REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    return env | nowhere | here | {"PYTHONUNBUFFERED": "1"}


def _is_container(process: Process) -> bool:
    return process.name.startswith("container-")


async def _death(process: Process) -> Stopped:
    await process.end()
    return Stopped(f"The {process.name} {process.ended()}.")


def _read_line(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="utf-8") as told:
        return told.readline()


async def _status(url: str, path: str) -> int:
    """The HTTP status, or 0 where nobody answers."""
    with suppress(ExchangeFailed):
        async with exchange(url, "GET", path, _OURS) as reply:
            await reply.read()
            return reply.status
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
