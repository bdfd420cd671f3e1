"""What a tenant forbids, as it writes it down and as it travels: values only. What may be set of it says `validity`."""

from typing import Literal

import msgspec

Action = Literal["refuse", "redact", "flag"]
"""`refuse` ends the request, `redact` puts `[name]` in the place of what was found, `flag` only counts it."""

Direction = Literal["in", "out", "both"]
"""Prompts go in, answers come out."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What matches `pattern` (docs/guardrails.md says how patterns are written) is found under `name`."""

    name: str
    pattern: str
    action: Action = "redact"
    direction: Direction = "both"


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Any of the phrases, as whole words in capitals or not, is found under `name`."""

    name: str
    phrases: tuple[str, ...]
    action: Action = "refuse"
    direction: Direction = "both"


class PackUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pack of ours, with another action or direction than the usual ones."""

    name: str
    action: Action = "redact"
    direction: Direction = "both"


class Tools(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Globs (`*` any characters, `?` one) of tools' names. With none allowed, all are that are not blocked."""

    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rule set of one tenant."""

    rules: tuple[Rule, ...] = ()
    packs: tuple[str | PackUse, ...] = ()
    topics: tuple[Topic, ...] = ()
    tools: Tools = Tools()
    refusal: str = ""  # what a refused caller is told; empty: a text of ours
    max_prompt_bytes: int | None = None

    @property
    def pack_uses(self) -> tuple[PackUse, ...]:
        """The packs, also those that are named alone: with their usual action and direction."""
        return tuple(PackUse(use) if isinstance(use, str) else use for use in self.packs)


class SentRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes along with a sealed request, to be judged by where it is opened. A ticket names the SHA-256 of it."""

    rules: Rules = Rules()
    key_tools: tuple[str, ...] = ()  # globs of the tools that the caller's key is limited to; empty: it is not

    def written(self) -> bytes:
        """Equal ones are written alike: as JSON without white space, with all members, in their order."""
        return msgspec.json.encode(self)

    @classmethod
    def read(cls, written: bytes) -> "SentRules":
        """Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
        return msgspec.json.decode(written, type=cls)


class Finding(msgspec.Struct, frozen=True):
    """That a rule was met, and how often: never where or with what."""

    rule: str
    count: int
