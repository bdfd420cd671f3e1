"""What a streamed chat completion says, as its reader got it."""

import json
from typing import Any


def events(read: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in read.split(b"\n") if line.startswith(b"data: {")]


def text(read: bytes) -> str:
    choices = [choice for event in events(read) for choice in event.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
