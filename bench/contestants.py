"""Who is measured, and how each is started: LiteLLM's proxy bare and governed, smg, and Cloister.

Each is one process with one worker, behind keep-alive connections on loopback, in front of the same upstream.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import environments, tenant
from bench.load import BadAnswer, ask, once
from bench.processes import Program, free_port, wait_listening
from bench.worktree import serving

LOGS = environments.PLACE / "log"
START_S = 90.0
PROBE_S = 0.02

LITELLM_CONFIG = Path(__file__).resolve().parent / "litellm"
# What LiteLLM's own production guide sets, and nothing that leaves the machine.
LITELLM_ENVIRONMENT = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_DOCS": "True",
}


@dataclass(frozen=True)
class Contestant:
    name: str
    port: int
    path: str  # of chat completions
    key: str | None
    command: tuple[str | Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    # Where Cloister's modules are; LiteLLM finds its hook by the config's folder.
    at: Path = environments.ROOT

    def start(self) -> Program:
        log = LOGS / f"{self.name.replace(' ', '-')}.log"
        return Program(self.command, environment=self.environment, log=log, at=self.at)


async def started(contestant: Contestant) -> tuple[Program, float]:
    """The running contestant, and the seconds from its start to its first right answer.

    Raises: RuntimeError (it ended by itself), BadAnswer or OSError (it does not answer rightly).
    """
    began = time.perf_counter()
    program = contestant.start()
    try:
        await _answering(contestant, program)
    except BaseException:
        program.stop()
        raise
    return program, time.perf_counter() - began


async def _answering(contestant: Contestant, program: Program) -> None:
    """Return when it gives a right answer."""
    deadline = time.monotonic() + START_S
    while True:
        program.check_alive()
        try:
            return await once(contestant.port, ask(contestant.path, contestant.key))
        except (OSError, BadAnswer):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(PROBE_S)


@contextmanager
def upstream(*jwks: str) -> Iterator[int]:
    """The instant engine, with a JWK set an issuer as well; yields its port."""
    with _served("bench.upstream", *jwks) as port:
        yield port


@contextmanager
def streaming_upstream(chunks: int, pace_ms: int) -> Iterator[int]:
    """The engine of many long streams; yields its port."""
    with _served("bench.streams_upstream", str(chunks), str(pace_ms)) as port:
        yield port


@contextmanager
def dynamodb(upstream_port: int, keys: str, *kms_key: str) -> Iterator[int]:
    """The instant DynamoDB, holding the tenants of these keys, with commas between; yields its port."""
    with _served("bench.dynamodb", str(upstream_port), keys, *kms_key) as port:
        yield port


@contextmanager
def redis() -> Iterator[int]:
    """Redis in memory only; yields its port. Raises: NotInstallable."""
    server, environment = environments.redis_server()
    port = free_port()
    command: list[str | Path] = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with Program(command, environment=environment, log=LOGS / "redis.log", at=environments.PLACE) as program:
        wait_listening(program, port)
        yield port


@contextmanager
def _served(module: str, *arguments: str) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", module, str(port), *arguments]
    with Program(command, environment={}, log=LOGS / f"{module}.log", at=environments.ROOT) as program:
        wait_listening(program, port)
        yield port


def direct(upstream_port: int) -> Contestant:
    return Contestant("direct", upstream_port, "/v1/chat/completions", None)


def litellm(kind: str, upstream_port: int, redis_port: int | None = None) -> Contestant:
    """LiteLLM's proxy with `litellm/<kind>.yaml`: `bare` or `governed` (which needs Redis)."""
    interpreter = environments.python("litellm")
    port = free_port()
    key = None if redis_port is None else f"sk-{secrets.token_hex(16)}"
    environment = {**LITELLM_ENVIRONMENT, "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream_port}/v1"}
    if key is not None:
        environment |= {
            "BENCH_KEY": key,
            "BENCH_MASTER_KEY": f"sk-{secrets.token_hex(24)}",
            "BENCH_REDIS_PORT": str(redis_port),
        }
    command = (interpreter.parent / "litellm", "--config", LITELLM_CONFIG / f"{kind}.yaml", "--num_workers", "1")
    serving = ("--host", "127.0.0.1", "--port", str(port))
    return Contestant(f"LiteLLM {kind}", port, "/v1/chat/completions", key, (*command, *serving), environment)


def smg(upstream_port: int) -> Contestant:
    """Shepherd Model Gateway, a router in Rust: it knows no keys, limits or ledger, so it is what a wire costs."""
    program = environments.python("smg").parent / "smg"
    port = free_port()
    serving = ("--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://127.0.0.1:{upstream_port}")
    metrics = ("--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port()))
    command = (program, "launch", *serving, "--policy", "round_robin", *metrics, "--log-level", "error")
    return Contestant("smg", port, "/v1/chat/completions", None, command)


def cloister(
    dynamodb_port: int,
    key: str,
    *,
    name: str = "Cloister",
    at: Path = environments.ROOT,
    interpreter: Path | None = None,
) -> Contestant:
    """The gateway of the tree `at` under uvicorn with exact admission on, as the local system runs it.

    `interpreter`: with the gateway's packages; none: that of an environment of its own.

    Raises: NotInstallable, NoTree (it has neither server nor bridge).
    """
    interpreter = interpreter or environments.gateway(at)
    port = free_port()
    path = f"/tenants/{tenant.tenant_of(key)}/v1/chat/completions"
    return Contestant(name, port, path, key, (interpreter, *serving(at, port)), cloister_environment(dynamodb_port), at)


def guarded(dynamodb_port: int, upstream_port: int, key: str, token: str) -> Contestant:
    """The same gateway, for the guarded tenant's member: by the token, which the upstream's keys verify.

    `key`: of the tenant, which the DynamoDB holds.
    """
    plain = cloister(dynamodb_port, key, name="Cloister guarded")
    issuer = {"CLOISTER_ISSUER": tenant.issuer_of(upstream_port), "CLOISTER_ISSUER_AUDIENCES": tenant.AUDIENCE}
    return replace(plain, key=token, environment={**plain.environment, **issuer})


def cloister_environment(dynamodb_port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{dynamodb_port}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",  # the stub checks no signature; signing is part of our cost
        "AWS_EC2_METADATA_DISABLED": "true",
    }
