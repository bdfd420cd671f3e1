"""What operators are to look at: a tenant that broke one of its rules, the evidence, and the steps taken.

There is one review for each rule of a tenant, however often it is broken. No prompt is in it.
"""

from typing import Literal

import msgspec

from chalicelib.documents import PLATFORM, Changed, Document, Documents
from chalicelib.refusal import Conflict, NotFound
from chalicelib.tenancy.tenant import VelocityRule
from chalicelib.velocity.windows import window_at

MOST_NAMED = 20
"""Callers and addresses that a review names, the last ones."""
MOST_STEPS = 50

Step = Literal["note", "throttle", "suspend", "clear"]


class Evidence(msgspec.Struct, frozen=True):
    """Of the request that was one too many."""

    tenant: str
    subject: str  # "key:<id>", "member:<subject>", or an ARN
    address: str


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
    rule: VelocityRule  # as it was broken last
    first_ms: int
    last_ms: int
    windows: int  # in which it was broken
    subjects: tuple[str, ...]
    addresses: tuple[str, ...]
    open: bool = True
    steps: tuple[Taken, ...] = ()  # the last ones


def review_id(rule: VelocityRule) -> str:
    return f"{rule.what}-{rule.per_s}"


class Reviews:
    """All of them. Raises StoreUnavailable."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def tell(self, rule: VelocityRule, evidence: Evidence, now_ms: int) -> None:
        """That a tenant has broken its rule. Each process tells it once for each window."""
        for _ in range(2):  # another process may tell it at the same time
            document = self._found(evidence.tenant, review_id(rule))
            held = _review(document) if document else None
            if (
                held is not None
                and held.open
                and window_at(rule.per_s, held.last_ms).number >= window_at(rule.per_s, now_ms).number
            ):
                return
            try:
                self._put(_told(held, rule, evidence, now_ms), document)
            except Changed:
                continue
            return

    def all(self) -> list[Review]:
        """The open ones first, and of these those that were broken last."""
        held = [_review(document) for document in self._documents.under(PLATFORM, "review#")]
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

    def _document(self, tenant: str, review: str) -> Document:
        document = self._found(tenant, review)
        if document is None:
            raise NotFound("There is no such review. GET /admin/reviews lists those there are.")
        return document

    def _found(self, tenant: str, review: str) -> Document | None:
        return self._documents.get(PLATFORM, f"review#{tenant}#{review}")

    def _put(self, review: Review, document: Document | None) -> None:
        version = document.version if document else 0
        text = msgspec.json.encode(review).decode()
        self._documents.put(Document(PLATFORM, f"review#{review.tenant}#{review.id}", text, version))


def _review(document: Document) -> Review:
    return msgspec.json.decode(document.text, type=Review)


def _told(held: Review | None, rule: VelocityRule, evidence: Evidence, now_ms: int) -> Review:
    if held is None:
        return Review(
            tenant=evidence.tenant,
            id=review_id(rule),
            rule=rule,
            first_ms=now_ms,
            last_ms=now_ms,
            windows=1,
            subjects=(evidence.subject,),
            addresses=(evidence.address,),
        )
    return msgspec.structs.replace(
        held,
        rule=rule,
        last_ms=now_ms,
        windows=held.windows + 1,
        subjects=_with(held.subjects, evidence.subject),
        addresses=_with(held.addresses, evidence.address),
        open=True,
    )


def _with(named: tuple[str, ...], another: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(name for name in named if name != another), another)))[-MOST_NAMED:]
