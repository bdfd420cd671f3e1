"""What the demo model knows, read from `facts.toml`."""

import tomllib
from pathlib import Path
from typing import NamedTuple


class Topic(NamedTuple):
    """One thing worth asking about. `terms` fill general questions; `asks` are asked as they stand."""

    answer: str
    terms: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


def _topics(text: str) -> tuple[Topic, ...]:
    found = tomllib.loads(text)["topic"]
    return tuple(Topic(one["answer"], tuple(one.get("terms", ())), tuple(one.get("asks", ()))) for one in found)


TOPICS = _topics(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
