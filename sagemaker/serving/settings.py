"""The container's settings: flags first, then the environment, then defaults; one frozen value, read once."""

import argparse
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from serving.queue import Limits

ENGINE_NAMES = ("llamacpp", "vllm", "scripted")
DEFAULT_MODEL_DIR = "/opt/ml/model"
# Who runs the image reaches it from outside of its network namespace, and SageMaker says so by no variable where one
# container stands alone. So this is what nothing said means, and loopback is what a developer asks for.
EVERYWHERE = "0.0.0.0"  # noqa: S104
ENCLAVE_ADDRESS = "unix:PATH, tcp:HOST:PORT or vsock:CID:PORT"


class BadSettings(Exception):
    """A flag or variable makes no sense. The text is one clear sentence."""


class EnclaveSettings(msgspec.Struct, frozen=True):
    """As they were given. `measurements` is one `0=HEX,1=HEX,…` for each enclave that is allowed."""

    address: str
    identity: Path
    root: Path | None  # none: AWS's
    measurements: tuple[str, ...]


class Settings(msgspec.Struct, frozen=True):
    host: str = EVERYWHERE
    port: int = 8080
    engine: str = "llamacpp"
    models: tuple[tuple[str, Path], ...] = ()
    embeddings: frozenset[str] = frozenset()  # names of models that were declared as embedding models
    multi_model: bool = False
    instance: str = "local"
    limits: Limits = Limits()
    memory_limit_mb: int = 0  # 0: what this machine or control group has
    context: int = 0  # tokens per request; 0: what the model was trained for, at most 4,096
    threads: int = 0  # per model; 0: all cores
    prompt_cache: str = "off"
    engine_args: tuple[str, ...] = ()
    load_timeout_s: int = 600
    queue_timeout_s: int = 60
    stall_timeout_s: int = 5
    idle_timeout_s: int = 120
    request_timeout_s: int = 900
    body_timeout_s: int = 30
    grace_s: int = 20
    enclave: EnclaveSettings | None = None


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises: BadSettings. Exits by itself for --help and for flags that do not parse, as argparse does."""
    flags = parser(environ).parse_args([arg for arg in argv if arg != "serve"])  # `docker run IMAGE serve`
    multi_model = flags.multi_model or environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    models = [_pair(text) for text in (*flags.model, *flags.embedding)]
    if not models and not multi_model:
        models = [("default", Path(environ.get("CLOISTER_MODEL_DIR", DEFAULT_MODEL_DIR)))]
    names = [name for name, _ in models]
    if len(set(names)) < len(names):
        raise BadSettings("each model needs a name of its own: " + ", ".join(sorted(names)))
    for name in (
        "capacity",
        "queue_bound",
        "aging_ms",
        "grace_s",
        "request_timeout_s",
        "queue_timeout_s",
        "stall_timeout_s",
    ):
        if getattr(flags, name) < 1:
            raise BadSettings(f"--{name.replace('_', '-')} must be at least 1")
    return Settings(
        host=flags.host,
        port=flags.port,
        engine=flags.engine,
        models=tuple(models),
        embeddings=frozenset(_pair(text)[0] for text in flags.embedding),
        multi_model=multi_model,
        instance=flags.instance_id or f"{socket.gethostname()[:40]}-{secrets.token_hex(3)}",
        limits=Limits(
            capacity=flags.capacity,
            bound=flags.queue_bound,
            tenant_bound=flags.tenant_bound or -(-flags.queue_bound // 2),
            aging_ms=flags.aging_ms,
        ),
        memory_limit_mb=flags.memory_limit_mb,
        context=flags.context,
        threads=flags.threads,
        prompt_cache=flags.prompt_cache,
        engine_args=tuple(flags.engine_arg),
        load_timeout_s=flags.load_timeout_s,
        queue_timeout_s=flags.queue_timeout_s,
        stall_timeout_s=flags.stall_timeout_s,
        idle_timeout_s=flags.idle_timeout_s,
        request_timeout_s=flags.request_timeout_s,
        grace_s=flags.grace_s,
        enclave=_enclave(flags, environ),
    )


def _pair(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise BadSettings(f"a model is given as NAME=PATH, not {text!r}")
    return name, Path(path)


def _enclave(flags: argparse.Namespace, environ: Mapping[str, str]) -> EnclaveSettings | None:
    measurements = flags.enclave_pcr or [each for each in environ.get("CLOISTER_ENCLAVE_PCRS", "").split(";") if each]
    if not flags.enclave:
        if flags.enclave_identity or flags.enclave_root or measurements:
            raise BadSettings(f"an enclave's other settings are of no use without --enclave {ENCLAVE_ADDRESS}")
        return None
    if not flags.enclave_identity:
        raise BadSettings("an enclave answers only whom it knows: give --enclave-identity FILE, certificate and key")
    if not measurements:
        raise BadSettings("any enclave could be at that address: name its measurements by --enclave-pcr 0=HEX")
    root = Path(flags.enclave_root) if flags.enclave_root else None
    return EnclaveSettings(flags.enclave, Path(flags.enclave_identity), root, tuple(measurements))


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Cloister's inference container")

    def number(flag: str, variable: str, default: int, meaning: str) -> None:
        text = environ.get(variable, "")
        if text and not text.isdigit():
            raise BadSettings(f"{variable} must be a whole number")
        parser.add_argument(flag, type=int, default=int(text or default), help=f"{meaning} [{variable}, {default}]")

    host = environ.get("CLOISTER_HOST") or EVERYWHERE
    parser.add_argument("--host", default=host, help=f"address to listen on [CLOISTER_HOST, {EVERYWHERE}]")
    number("--port", "SAGEMAKER_BIND_TO_PORT", 8080, "port to listen on")
    engine = environ.get("CLOISTER_ENGINE", "llamacpp")
    parser.add_argument("--engine", choices=ENGINE_NAMES, default=engine, help="[CLOISTER_ENGINE, llamacpp]")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH", help="a model to load at start")
    parser.add_argument("--embedding", action="append", default=[], metavar="NAME=PATH", help="an embedding model")
    parser.add_argument("--multi-model", action="store_true", help="start without a model [SAGEMAKER_MULTI_MODEL]")
    parser.add_argument("--instance-id", default=environ.get("CLOISTER_INSTANCE_ID", ""), help="[host-random]")
    number("--capacity", "CLOISTER_CAPACITY", 4, "requests that run at once")
    number("--queue-bound", "CLOISTER_QUEUE_BOUND", 64, "requests that may wait")
    number("--tenant-bound", "CLOISTER_TENANT_BOUND", 0, "requests of one tenant that may wait; 0: half of them")
    number("--aging-ms", "CLOISTER_AGING_MS", 5000, "a waiting class gains a priority each so many ms")
    number("--memory-limit-mb", "CLOISTER_MEMORY_LIMIT_MB", 0, "for all models together; 0: 90 %% of what is there")
    number("--context", "CLOISTER_CONTEXT", 0, "tokens per request; 0: the model's own, at most 4096")
    number("--threads", "CLOISTER_THREADS", 0, "threads per model; 0: all cores")
    cache = environ.get("CLOISTER_PROMPT_CACHE", "off")
    meaning = "reuse prompt prefixes across all tenants: faster, but the reuse can be observed [CLOISTER_PROMPT_CACHE]"
    parser.add_argument("--prompt-cache", choices=("off", "shared"), default=cache, help=meaning)
    parser.add_argument("--engine-arg", action="append", default=[], help="passed on to `vllm serve`; repeatable")
    number("--load-timeout-s", "CLOISTER_LOAD_TIMEOUT_S", 600, "a model that is not up by then is given up")
    number("--queue-timeout-s", "CLOISTER_QUEUE_TIMEOUT_S", 60, "longest wait for a turn")
    number("--stall-timeout-s", "CLOISTER_STALL_TIMEOUT_S", 5, "an engine's loop that stands still is ended after that")
    number("--idle-timeout-s", "CLOISTER_IDLE_TIMEOUT_S", 120, "longest silence of an engine inside a stream")
    number("--request-timeout-s", "CLOISTER_REQUEST_TIMEOUT_S", 900, "longest answer as a whole")
    number("--grace-s", "CLOISTER_GRACE_S", 20, "time to finish after SIGTERM")
    _add_enclave(parser, environ)
    return parser


def _add_enclave(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    def text(flag: str, variable: str, metavar: str, meaning: str) -> None:
        parser.add_argument(flag, default=environ.get(variable, ""), metavar=metavar, help=f"{meaning} [{variable}]")

    text("--enclave", "CLOISTER_ENCLAVE", "ADDRESS", f"who opens sealed requests: {ENCLAVE_ADDRESS}")
    text("--enclave-identity", "CLOISTER_ENCLAVE_IDENTITY", "FILE", "certificate and key that we show to it")
    text("--enclave-root", "CLOISTER_ENCLAVE_ROOT", "FILE", "root that vouches for it, in PEM; default: AWS's")
    meaning = "measurements of one enclave that is allowed; repeatable [CLOISTER_ENCLAVE_PCRS, joined by ;]"
    parser.add_argument("--enclave-pcr", action="append", default=[], metavar="0=HEX,1=HEX", help=meaning)


def machine_limit_mb() -> int:
    """90 % of what the control group, or else the machine, has: the rest is for Python and the page cache."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return total * 9 // 10 // 2**20
