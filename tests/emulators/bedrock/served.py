"""`python -m emulators.bedrock` as its own process, and botocore's unmodified clients of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
REGION = "us-east-1"
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET = "anthropic.claude-sonnet-4-20250514-v1:0"
OPUS = "anthropic.claude-opus-4-20250514-v1:0"
OPUS_41 = "anthropic.claude-opus-4-1-20250805-v1:0"
SONNET_35 = "anthropic.claude-3-5-sonnet-20241022-v2:0"
NOVA = "amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-8b-instruct-v1:0"


class Served:
    """Its models echo what they are told, one token a word, unless it was given a model."""

    def __init__(self, told: dict[str, str]) -> None:
        self.url = told["url"]
        self.bearer = told["bearer"]
        self.access_key_id = told["access_key_id"]
        self.secret_access_key = told["secret_access_key"]
        self.runtime = self.client("bedrock-runtime")
        self.management = self.client("bedrock")

    def client(
        self, service: str = "bedrock-runtime", region: str = REGION, *, patience_s: float = PATIENCE_S, **keys: str
    ) -> Any:
        own = {"aws_access_key_id": self.access_key_id, "aws_secret_access_key": self.secret_access_key}
        config = Config(retries={"total_max_attempts": 1}, read_timeout=patience_s)
        return boto3.client(service, region_name=region, endpoint_url=self.url, config=config, **(own | keys))

    def command(self, do: str, **members: Any) -> None:
        answer = httpx.post(f"{self.url}/_control", json={"do": do, **members}, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text

    def calls(self) -> list[dict[str, Any]]:
        """What was called since the last reset, oldest first."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/_control", timeout=PATIENCE_S).json()["calls"]
        return found

    def converse(self, text: str = "one two three", model: str = HAIKU, **members: Any) -> Any:
        return self.runtime.converse(modelId=model, messages=[user(text)], **members)

    def converse_stream(self, text: str = "one two three", model: str = HAIKU, **members: Any) -> Any:
        return self.runtime.converse_stream(modelId=model, messages=[user(text)], **members)["stream"]

    def invoke(self, body: dict[str, Any], model: str = HAIKU, **members: Any) -> dict[str, Any]:
        answer = self.runtime.invoke_model(modelId=model, body=json.dumps(body), **members)
        whole: dict[str, Any] = json.loads(answer["body"].read())
        return whole

    def invoke_stream(self, body: dict[str, Any], model: str = HAIKU, **members: Any) -> list[dict[str, Any]]:
        answer = self.runtime.invoke_model_with_response_stream(modelId=model, body=json.dumps(body), **members)
        return [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]


def user(text: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    """A turn of Converse."""
    return {"role": "user", "content": [{"text": text}, *blocks]}


def anthropic(text: str = "one two three", **members: Any) -> dict[str, Any]:
    """A Messages body."""
    messages = [{"role": "user", "content": text}]
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": messages, **members}


def said(stream: Any) -> str:
    """The text of a ConverseStream."""
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in stream if "contentBlockDelta" in event)


@contextmanager
def refused(code: str, text: str = "") -> Iterator[None]:
    """Bedrock says no, by this name and in words with this among them."""
    with pytest.raises(ClientError) as error:
        yield
    told = error.value.response["Error"]
    assert told["Code"] == code, told
    assert text in told["Message"], told


@contextmanager
def served(*options: str) -> Iterator[Served]:
    told, tell = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "emulators.bedrock", *options, "--ready-fd", str(tell)],
        pass_fds=[tell],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,  # uvicorn tells of each connection that it was commanded to cut
    )
    os.close(tell)
    try:
        with os.fdopen(told) as ready:
            line = ready.readline()
        assert line, "the local Bedrock did not start"
        yield Served(json.loads(line))
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
