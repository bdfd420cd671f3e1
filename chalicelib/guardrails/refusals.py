"""What the guard says no by, as refusals of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.dialects.failures import MALFORMED, NOT_UNDERSTOOD
from chalicelib.refusal import ContentRefused, EngineFailed, Malformed
from guard.bodies import Judge, NotAllowed, NotUnderstood


@contextmanager
def as_refusals() -> Iterator[None]:
    """What is judged in here raises ContentRefused, EngineFailed."""
    try:
        yield
    except NotAllowed as refused:
        raise content_refused(refused) from None
    except NotUnderstood:
        raise EngineFailed(NOT_UNDERSTOOD) from None


def content_refused(refused: NotAllowed) -> ContentRefused:
    return ContentRefused(refused.text, symptom=refused.rule)


def judge_complaint(complaint: Malformed, judge: Judge) -> None:
    """Of a server about a request: it may quote that, or what it answers to it."""
    try:
        complaint.text = judge.text(complaint.text)
    except NotAllowed:
        complaint.text = MALFORMED
    try:
        shown = complaint.field and judge.text(complaint.field)
    except NotAllowed:
        shown = None
    complaint.field = shown if shown == complaint.field else None
