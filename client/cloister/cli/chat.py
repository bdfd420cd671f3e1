"""`cloister chat`: one message, or a conversation, sealed."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx

from cloister.cli.gateway import TIMEOUT_S, GatewayRefused, refused
from cloister.cli.settings import Settings
from cloister.transport import SealedTransport

Message = dict[str, str]


def chat(settings: Settings, options: argparse.Namespace) -> int:
    """Raises: SealError."""
    trusted = settings.trust()
    with SealedTransport(
        mode=options.mode,
        kms_key_arn=None if options.mode == "hpke" else settings.must("kms_key_arn"),
        root=settings.attestation_root,
        measurements=trusted.allowed,
    ) as http:
        http.timeout = httpx.Timeout(TIMEOUT_S)
        if settings.api_key:
            http.headers["Authorization"] = f"Bearer {settings.api_key}"
        conversation: list[Message] = []
        for said in _said(options.message):
            conversation.append({"role": "user", "content": said})
            answer = ""
            for text in _answer(http, settings, options, conversation):
                print(text, end="", flush=True)
                answer += text
            print()
            conversation.append({"role": "assistant", "content": answer})
    return 0


def _said(message: str | None) -> Iterator[str]:
    """The one message, or a line each until the end of the input."""
    if message is not None:
        yield message
        return
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _answer(
    http: httpx.Client, settings: Settings, options: argparse.Namespace, conversation: list[Message]
) -> Iterator[str]:
    asked: dict[str, Any] = {"model": options.model, "messages": conversation, "stream": options.mode != "kms"}
    if options.max_tokens is not None:
        asked["max_tokens"] = options.max_tokens
    try:
        with http.stream("POST", f"{settings.tenant_url}/v1/chat/completions", json=asked) as response:
            if response.is_error:
                response.read()
                raise refused(response)
            if not asked["stream"]:
                yield json.loads(response.read())["choices"][0]["message"]["content"]
                return
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield from _texts(json.loads(line.removeprefix("data: ")))
    except httpx.HTTPError as error:
        raise GatewayRefused(f"The gateway cannot be reached, or hung up: {error}.") from error


def _texts(chunk: dict[str, Any]) -> Iterator[str]:
    if "error" in chunk:
        raise GatewayRefused(str(chunk["error"]["message"]))
    for choice in chunk["choices"]:
        if text := choice["delta"].get("content"):
            yield text
