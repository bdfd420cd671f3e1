"""What somebody is to look at: a rule that was broken, the evidence, and the steps taken.

There is one review for each rule of a tenant, however often it is broken. No prompt is in it. Operators have one list,
of what broke their rules; a tenant's owners one of what broke their own.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from chalicelib.documents import PLATFORM, Changed, Document, Documents
from chalicelib.refusal import Conflict, NotFound
from chalicelib.tenancy.tenant import VelocityRule
from chalicelib.velocity.whose import Whose
from chalicelib.velocity.windows import window_at

MOST_NAMED = 20
"""Callers, addresses and rules of guardrails that a review names, the last ones."""
MOST_STEPS = 50

Step = Literal["note", "throttle", "suspend", "clear", "take_down"]


class Evidence(msgspec.Struct, frozen=True):
    """Of the request that was one too many."""

    tenant: str
    subject: str  # "key:<id>", "member:<subject>", or an ARN
    address: str
    found: Mapping[str, int] = {}  # by which rules of the guardrails, how often


class Taken(msgspec.Struct, frozen=True):
    """A step, when and why. Who took it, the events of the platform say, by the request."""

    step: Step
    at_ms: int
    reason: str
    request_id: str


class Review(msgspec.Struct, frozen=True):
    """What was seen. It is open until it is cleared, and again when the rule is broken after that."""

    tenant: str
    id: str  # of the rule, within the tenant
    rule: VelocityRule | None  # as it was broken last; None: it was called from a network that is watched
    first_ms: int
    last_ms: int
    windows: int  # in which it was broken
    subjects: tuple[str, ...]
    addresses: tuple[str, ...]
    open: bool = True
    steps: tuple[Taken, ...] = ()  # the last ones
    found: dict[str, int] = {}  # in guardrails: by rule, how often at least, by the count of whoever told it


def review_id(whose: Whose, rule: VelocityRule) -> str:
    return f"{whose.prefix}{rule.what}-{rule.per_s}"


class Reviews:
    """All of them. `told`: whose list it is, the platform's where nothing else is said. Raises StoreUnavailable."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def tell(self, whose: Whose, rule: VelocityRule, evidence: Evidence, now_ms: int) -> None:
        """That the rule is broken. Each process tells it once for each window."""
        self.note(whose, review_id(whose, rule), rule.per_s, rule, evidence, now_ms)

    def note(
        self, whose: Whose, name: str, per_s: int, rule: VelocityRule | None, evidence: Evidence, now_ms: int
    ) -> None:
        """The same, of whatever has windows of `per_s`."""
        for _ in range(2):  # another process may tell it at the same time
            document = self._found(evidence.tenant, name, whose.told)
            held = _review(document) if document else None
            if (
                held is not None
                and held.open
                and window_at(per_s, held.last_ms).number >= window_at(per_s, now_ms).number
            ):
                return
            try:
                self._put(_told(held, name, rule, evidence, now_ms), document, whose.told)
            except Changed:
                continue
            return

    def all(self, told: str = PLATFORM) -> list[Review]:
        """The open ones first, and of these those that were broken last."""
        held = [_review(document) for document in self._documents.under(told, "review#")]
        return sorted(held, key=lambda review: (not review.open, -review.last_ms))

    def get(self, tenant: str, review: str) -> Review:
        """Raises NotFound."""
        return _review(self._document(tenant, review))

    def take(self, tenant: str, review: str, taken: Taken) -> Review:
        """Note the step. Raises NotFound, Conflict."""
        document = self._document(tenant, review)
        held = _review(document)
        changed = msgspec.structs.replace(
            held, open=taken.step != "clear" and held.open, steps=(*held.steps, taken)[-MOST_STEPS:]
        )
        try:
            self._put(changed, document)
        except Changed:
            raise Conflict("Somebody else changed this review at the same time. Look at it, then repeat.") from None
        return changed

    def keep_only(self, told: str, names: Iterable[str]) -> None:
        """Of the rules that there are still; a rule more that is broken meanwhile stays."""
        kept = set(names)
        for document in list(self._documents.under(told, "review#")):
            if _review(document).id not in kept:
                with suppress(Changed):
                    self._documents.delete(document)

    def _document(self, tenant: str, review: str) -> Document:
        document = self._found(tenant, review)
        if document is None:
            raise NotFound("There is no such review. GET /admin/reviews lists those there are.")
        return document

    def _found(self, tenant: str, review: str, told: str = PLATFORM) -> Document | None:
        return self._documents.get(told, f"review#{tenant}#{review}")

    def _put(self, review: Review, document: Document | None, told: str = PLATFORM) -> None:
        version = document.version if document else 0
        text = msgspec.json.encode(review).decode()
        self._documents.put(Document(told, f"review#{review.tenant}#{review.id}", text, version))


def _review(document: Document) -> Review:
    return msgspec.json.decode(document.text, type=Review)


def _told(held: Review | None, name: str, rule: VelocityRule | None, evidence: Evidence, now_ms: int) -> Review:
    if held is None:
        return Review(
            tenant=evidence.tenant,
            id=name,
            rule=rule,
            first_ms=now_ms,
            last_ms=now_ms,
            windows=1,
            subjects=(evidence.subject,),
            addresses=(evidence.address,),
            found=dict(evidence.found),
        )
    return msgspec.structs.replace(
        held,
        rule=rule,
        last_ms=now_ms,
        windows=held.windows + 1,
        subjects=_with(held.subjects, evidence.subject),
        addresses=_with(held.addresses, evidence.address),
        found=_together(held.found, evidence.found),
        open=True,
    )


def _with(named: tuple[str, ...], another: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(name for name in named if name != another), another)))[-MOST_NAMED:]


def _together(held: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Those that were found last stay, where there are too many."""
    names = [*(name for name in held if name not in more), *more][-MOST_NAMED:]
    return {name: held.get(name, 0) + more.get(name, 0) for name in names}
