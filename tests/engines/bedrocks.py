"""The local Bedrock as a process, engines that call it over HTTP, and the calls that are made."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from chalicelib.call import Call, Operation
from chalicelib.engines.bedrock.access import Times
from chalicelib.engines.bedrock.engine import BedrockEngine
from chalicelib.engines.secrets_manager import Unreadable
from chalicelib.engines.transport.bounds import monotonic_ms
from chalicelib.pool import Bedrock
from chalicelib.settings import Settings
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET = "anthropic.claude-sonnet-4-20250514-v1:0"  # by inference profiles only: us, eu, apac, global
OPUS = "anthropic.claude-opus-4-20250514-v1:0"  # by inference profiles only: us
NOVA = "amazon.nova-lite-v1:0"

ON_HAIKU = Bedrock("us-haiku", model=HAIKU, region="us-east-1")
ON_NOVA = Bedrock("us-nova", model=NOVA, region="us-east-1")
ON_SONNET = Bedrock("us-sonnet", model=SONNET, region="us-east-1")
ANY_MODEL = Bedrock("us", region="us-east-1")


class LocalBedrock(msgspec.Struct, frozen=True):
    url: str
    bearer: str
    access_key_id: str
    secret_access_key: str

    def do(self, what: str, **members: object) -> None:
        """Command it (docs/local-bedrock.md)."""
        httpx.post(f"{self.url}/_control", json={"do": what, **members}, timeout=PATIENCE_S).raise_for_status()

    def calls(self) -> list[dict[str, Any]]:
        """What it was asked, the oldest first."""
        told: list[dict[str, Any]] = httpx.get(f"{self.url}/_control", timeout=PATIENCE_S).json()["calls"]
        return told

    def operations(self) -> list[str]:
        return [call["operation"] for call in self.calls()]


@contextmanager
def served() -> Iterator[LocalBedrock]:
    process = subprocess.Popen([sys.executable, "-m", "emulators.bedrock"], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield msgspec.json.decode(process.stdout.readline(), type=LocalBedrock)
    finally:
        process.terminate()
        process.communicate()


class Vault:
    """Secrets that a test rotates; they are read as Secrets Manager's are."""

    def __init__(self, **secrets: Mapping[str, str]) -> None:
        self.secrets = secrets
        self.reads = 0

    def __call__(self, secret: str) -> str:
        self.reads += 1
        if secret not in self.secrets:
            raise Unreadable("Secrets Manager: ResourceNotFoundException")
        return json.dumps(self.secrets[secret])


class Memory:
    """What sandboxes tell each other of inference profiles."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def recall(self, place: str, model: str) -> str | None:
        return self.held.get((place, model))

    def remember(self, place: str, model: str, profile: str) -> None:
        self.held[place, model] = profile


class Clocks:
    """The wall's clock is set by hand. Pauses are noted, and take none of the test's time."""

    def __init__(self) -> None:
        self.wall_ms = time.time_ns() // 1_000_000
        self.paused_ms: list[int] = []

    @property
    def times(self) -> Times:
        return Times(
            monotonic=lambda: monotonic_ms() + sum(self.paused_ms),
            wall=lambda: self.wall_ms,
            sleep=lambda pause_s: self.paused_ms.append(round(pause_s * 1_000)),
            draw=lambda: 1.0,
        )


def sandbox(
    vault: Vault | None = None,
    memory: Memory | None = None,
    settings: Settings | None = None,
    clocks: Clocks | None = None,
) -> BedrockEngine:
    """An engine that knows nothing yet; a session that a busy machine takes its time to give is waited for."""
    patient = Settings(store_deadline_ms=30_000)
    return BedrockEngine(settings or patient, memory or Memory(), vault or Vault(), (clocks or Clocks()).times)


def ask(
    operation: Operation,
    fields: Mapping[str, object],
    *,
    stream: bool = False,
    ceiling_tokens: int = 64,
    choices: int = 1,
    model_id: str = "",
) -> Call:
    return Call(
        request_id="req-1",
        operation=operation,
        pool="model-a",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()},
        stream=stream,
        prompt_tokens=4,
        choices=choices,
        ceiling_tokens=ceiling_tokens,
        tenant_tag="tag-1",
        model_id=model_id,
    )


def chat(text: str = "Hello there", *, stream: bool = False, **fields: object) -> Call:
    return ask("chat.completions", {"messages": [{"role": "user", "content": text}], **fields}, stream=stream)


def message(text: str = "Hello there", *, stream: bool = False, **fields: object) -> Call:
    asked = {"model": "model-a", "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    return ask("messages", {**asked, **fields}, stream=stream)


def invoke(model: str, body: object, *, stream: bool = False, **fields: object) -> Call:
    return ask("invoke", {"modelId": model, "body": body, **fields}, stream=stream, model_id=model)


def converse(model: str, body: object, *, stream: bool = False) -> Call:
    return ask("converse", {"body": body}, stream=stream, model_id=model)


def anthropic(text: str = "Hello there") -> dict[str, object]:
    """A Message as a model of Anthropic's takes it at Bedrock."""
    messages = [{"role": "user", "content": text}]
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": messages}
