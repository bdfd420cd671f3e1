"""What a tenant's rules do to requests, and to answers as they leave, in the dialects that those are written in.

    texts     which strings of JSON are text           prompts   a request, judged and redacted
    wholes    a whole answer                           chunks    an answer that comes in chunks
    wires     where the text of chunks is              growing   the texts of chunks, put together
    again     a chunk that differs by its text alone

Sans-IO. What is refused is a `NotAllowed`; after any exception nothing of what was to be judged may be sent.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from guard.bodies import texts
from guard.judge import Guard, Outcome
from guard.rules import Finding
from guard.scanner import Allowance, TooCostly
from guard.tools import Globs

UNWRITTEN = frozenset(("embeddings", "messages.count_tokens"))
"""Operations that are answered by numbers."""

TOOL = "tools"
"""Under which a tool that may not be used is counted, beside the names of rules."""
NOT_THE_KEYS = "This key is limited to other tools. Offer the model only those, or use another key."
LENGTH = "max_prompt_bytes"
COST = "too costly"
TOO_COSTLY = (
    "The rules of this tenant take too long with this text. Send a shorter one, or ask an owner for other rules."
)
REFUSED = "What was asked or answered here is against the rules of this tenant. Ask an owner of the tenant for them."
"""What a refused caller is told, where its tenant has no words of its own."""


class NotAllowed(Exception):
    """A rule forbids what is asked, or answered. `text` is for the caller; `rule`, which it was, for tenants' owners.

    `ending`: chunks that may still be sent, and end an answer that came in chunks.
    """

    def __init__(self, text: str, rule: str) -> None:
        super().__init__(text)
        self.text = text
        self.rule = rule
        self.ending: list[bytes] = []


class NotUnderstood(Exception):
    """An answer that is no JSON object: nobody can judge it."""


class Growth(Protocol):
    """What may be released of a text that comes in pieces, as a Scanner says it."""

    def feed(self, piece: str) -> str: ...

    def finish(self, piece: str = "") -> str: ...

    @property
    def findings(self) -> tuple[Finding, ...]: ...


class Judge:
    """One text after the other, of one request or one whole answer; what was found is counted. Not thread-safe.

    `reads`: whether texts matter at all, and not the names of tools alone. `waits`: whether judging waits for others.
    """

    waits = False

    def __init__(self, guard: Guard, direction: Literal["in", "out"], tools: Globs | None = None) -> None:
        """`tools`: what the caller's key is limited to."""
        rules = guard.rules
        self.guard = guard
        self.reads = bool(rules.rules or rules.packs or rules.topics or rules.max_prompt_bytes)
        self.findings: Counter[str] = Counter()
        self.judged_bytes = 0
        self.allowance = Allowance()
        self._direction = direction
        self._tools = tools

    def text(self, text: str) -> str:
        """As it may go on. Raises NotAllowed."""
        return self._told(self.guard.judge, text)

    def json(self, text: str) -> str:
        """A text that holds JSON. Raises NotAllowed."""
        return self._told(self.guard.judge_json, text)

    def document(self, value: object) -> object:
        """A value of JSON, such as a tool's input. Raises NotAllowed, also where no JSON is left of it."""
        if not self.reads:
            return value
        written = msgspec.json.encode(value).decode()
        judged = self.json(written)
        if judged == written:
            return value
        try:
            return msgspec.json.decode(judged)
        except msgspec.DecodeError:  # a number was redacted
            raise refusal(self.guard, next(iter(self.findings))) from None

    def whole_texts(self, node: dict[str, Any]) -> None:
        """Put in the place of each text below `node` what may go on of it. Raises NotAllowed."""

        def visit(path: texts.Path, text: str) -> str:
            return self.json(text) if path[-1] in texts.ARGUMENTS else self.text(text)

        texts.walk(node, visit, self.document)

    def scanner(self) -> Growth:
        """Of a text that grows."""
        return self.guard.scanner(self.allowance)

    def arguments_scanner(self) -> Growth:
        """Of JSON that grows."""
        return self.guard.arguments_scanner(self.allowance)

    def refusal(self, rule: str) -> NotAllowed:
        """Of what a rule forbids."""
        return refusal(self.guard, rule)

    def leave_out_pieces(self, node: dict[str, Any]) -> None:
        """What would spell the texts of `node` once more."""
        for name in texts.PIECES if self.reads else ():
            if name in node:
                node[name] = None

    def tool(self, name: str) -> None:
        """Raises NotAllowed for one that may not be used."""
        if not self.guard.tool_allowed(name):
            raise refusal(self.guard, TOOL)
        if self._tools is not None and not self._tools.allow(name):
            raise NotAllowed(NOT_THE_KEYS, TOOL)

    def _told(self, judge: Callable[[str, Literal["in", "out"], Allowance], Outcome], text: str) -> str:
        if not self.reads:
            return text
        self.judged_bytes += len(text.encode(errors="replace"))
        try:
            outcome = judge(text, self._direction, self.allowance)
        except TooCostly:
            raise NotAllowed(TOO_COSTLY, COST) from None
        for finding in outcome.findings:
            self.findings[finding.rule] += finding.count
        if outcome.refused is not None:
            raise refusal(self.guard, outcome.refused)
        return outcome.text


def refusal(guard: Guard, rule: str) -> NotAllowed:
    """In the tenant's own words, where it has some. Which rule it was, only the tenant's owners are to know."""
    return NotAllowed(guard.rules.refusal or REFUSED, rule)
