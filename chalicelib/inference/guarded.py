"""A tenant's rules on the path: a prompt is judged before it is admitted, an answer as its engine tells it."""

from collections.abc import Mapping

import msgspec

from chalicelib.call import Call, Stream, Watch
from chalicelib.guardrails import Judge, prompts, wholes
from chalicelib.guardrails.streams import UNWRITTEN, Judged
from chalicelib.inference.path import Path
from chalicelib.inference.plan import Ask, Plan, plan
from chalicelib.refusal import ContentRefused, Malformed
from chalicelib.tenancy.guardrails import Guardrails
from guard import compiled
from guard.judge import Guard

MOST_KEPT = 16
"""Guards of tenants, found by the rules that their snapshots hold: to look one up by what it says takes 15 us."""

_kept: dict[str, tuple[Guardrails, Guard]] = {}


def judged(planned: Plan, ask: Ask, guardrails: Guardrails, path: Path) -> Plan:
    """The plan of what may be asked. A sealed request is judged where it is opened. Raises ContentRefused."""
    if planned.sealed is not None:
        return planned
    judge = Judge(_guard(planned.principal.tenant, guardrails), "in")
    fields = prompts.judged(ask.fields, ask.operation, judge)
    _tell(judge.findings, "prompt", planned, path)
    if fields is ask.fields:
        return planned
    return plan(msgspec.structs.replace(ask, fields=fields), planned.principal, planned.snapshot)


def watch(planned: Plan, guardrails: Guardrails, path: Path) -> Watch:
    """Who judges what an engine answers to it."""
    guard = _guard(planned.principal.tenant, guardrails)

    def tell(findings: Mapping[str, int]) -> None:
        _tell(findings, "answer", planned, path)

    def watched(stream: Stream, call: Call) -> Stream:
        return stream if call.operation in UNWRITTEN else Judged(stream, call, guard, tell)

    return watched


def judge_complaint(complaint: Malformed, planned: Plan, guardrails: Guardrails) -> None:
    """What a target says of the request, before it answers."""
    wholes.judge_complaint(complaint, Judge(_guard(planned.principal.tenant, guardrails), "out"))


def told_of(refused: ContentRefused, ask: Ask, path: Path) -> None:
    """Count a prompt that was refused."""
    path.telemetry.count(
        "ContentRefused", path.clock(), tenant=ask.tenant or "", request_id=ask.request_id, rule=refused.symptom
    )


def _tell(findings: Mapping[str, int], where: str, planned: Plan, path: Path) -> None:
    for rule, count in findings.items():
        path.telemetry.count(
            "GuardFindings",
            path.clock(),
            tenant=planned.principal.tenant,
            request_id=planned.call.request_id,
            where=where,
            rule=rule,
            findings=count,
        )


def _guard(tenant: str, guardrails: Guardrails) -> Guard:
    held = _kept.get(tenant)
    if held is not None and held[0] is guardrails:
        return held[1]
    guard = compiled(guardrails.rules)
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[tenant] = (guardrails, guard)
    return guard
