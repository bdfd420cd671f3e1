"""A tenant's rules on the path: a prompt is judged before it is admitted, an answer as its engine tells it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from chalicelib.call import BEDROCKS, Call, Stream, Watch
from chalicelib.guardrails import refusals
from chalicelib.guardrails.sealed import JudgedElsewhere
from chalicelib.guardrails.streams import Judged
from chalicelib.identity import identify
from chalicelib.inference.path import Path
from chalicelib.inference.plan import Ask, Plan, plan, rules_of
from chalicelib.inference.velocity import tell_of_answer, tell_of_prompt
from chalicelib.refusal import ContentRefused, Forbidden, Malformed
from chalicelib.tenancy.guardrails import NONE, Guardrails
from chalicelib.tenancy.sources import NetworkSource
from guard import Rules, SentRules, Tools, compiled
from guard.automaton import Unfit
from guard.bodies import NOT_THE_KEYS, REFUSED, UNWRITTEN, Judge, prompts
from guard.judge import Guard
from guard.tools import Globs

if TYPE_CHECKING:
    from chalicelib.inference.second import Second

SEALED = "sealed request"
"""What its findings and refusals are counted as: which rules were met is not told. No rule can be called so."""

TOO_LARGE = (
    "The guardrails of this key and of its tenant are too large together. Use another key, or ask an owner for fewer."
)

MOST_KEPT = 64
"""Guards of tenants, and of keys with rules of their own, found by the rules that their snapshots hold: to look one up
by what it says takes 15 us."""

_kept: dict[tuple[str, str], tuple[Guardrails | None, Rules | None, Guard]] = {}


def judged(planned: Plan, ask: Ask, path: Path) -> tuple[Plan, Mapping[str, int]]:
    """The plan of what may be asked, and what was found in it, by rule. A sealed request is judged where it is opened.

    Raises: ContentRefused, Forbidden; by the second stage NoCapacity, StaleEpoch.
    """
    if planned.sealed is not None:
        if planned.principal.rules is not None:
            _guard(planned)  # rules that are too many together, an enclave could only call not opened
        return planned, {}
    judge = _judge(planned, "in")
    with refusals.as_refusals():
        within = "body" if ask.operation in BEDROCKS else ""
        fields = prompts.judged(ask.fields, judge, within)
        second = _second(planned, "in", path)
        if second is not None:
            fields = second.prompt(fields, within, judge.guard)
    if fields is not ask.fields:
        planned = plan(msgspec.structs.replace(ask, fields=fields), planned.principal, planned.snapshot)
    return planned, judge.findings


def watch(planned: Plan, lease_id: str, source: NetworkSource, path: Path) -> Watch:
    """Who judges what an engine answers to it."""
    planned = planned.forgotten()  # it is kept as long as the answer comes

    def tell(findings: Mapping[str, int]) -> None:
        count_findings(findings, "answer", planned, path)
        tell_of_answer(findings, lease_id, planned, source, path)

    def watched(stream: Stream, call: Call) -> Stream:
        if call.sealed:
            return JudgedElsewhere(
                stream,
                found=lambda: count_findings({SEALED: 1}, "sealed", planned, path),
                refused=lambda refused: told_of_sealed(refused, lease_id, planned, source, path),
            )
        if call.operation in UNWRITTEN:
            return stream
        second = _second(planned, "out", path)
        if second is None:
            return Judged(stream, call.forgotten(), _judge(planned, "out"), tell)

        def tell_both(findings: Mapping[str, int]) -> None:
            tell(findings)
            second.tell()

        judge = second.answer(*_rules(planned))
        return Judged(stream, call.forgotten(), judge, tell_both, judge.whole)

    return watched


def judge_complaint(complaint: Malformed, planned: Plan, path: Path) -> None:
    """What a target says of the request, before it answers."""
    second = _second(planned, "out", path)
    judge = _judge(planned, "out") if second is None else second.answer(*_rules(planned))
    refusals.judge_complaint(complaint, judge)
    if second is not None:
        second.tell()


def sent_rules(planned: Plan) -> bytes:
    """What a sealed request is judged by, as it goes along with it."""
    return SentRules(rules_of(planned.principal, planned.snapshot), planned.principal.scopes.tools).written()


def told_of(refused: ContentRefused, ask: Ask, path: Path) -> None:
    """Count a prompt that was refused, for whose caller the tenant was read just now."""
    path.telemetry.count(
        "ContentRefused", path.clock(), tenant=ask.tenant or "", request_id=ask.request_id, rule=refused.symptom
    )
    principal, snapshot = identify(
        ask.credential, ask.tenant, path.snapshots.cached, path.clock(), path.verified, ask.source
    )
    tell_of_prompt({refused.symptom: 1}, ask, principal, snapshot, path)


def told_of_sealed(refused: ContentRefused, lease_id: str, planned: Plan, source: NetworkSource, path: Path) -> None:
    """Say it in the tenant's words, and count it: once, whoever hears of it first."""
    if refused.symptom:
        return
    rules = rules_of(planned.principal, planned.snapshot)
    refused.text = rules.refusal or (NOT_THE_KEYS if rules == NONE else REFUSED)
    refused.symptom = SEALED
    path.telemetry.count(
        "ContentRefused",
        path.clock(),
        tenant=planned.principal.tenant,
        request_id=planned.call.request_id,
        rule=SEALED,
    )
    tell_of_answer({SEALED: 1}, lease_id, planned, source, path)


def count_findings(findings: Mapping[str, int], where: str, planned: Plan, path: Path) -> None:
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


def _judge(planned: Plan, direction: Literal["in", "out"]) -> Judge:
    guard, tools = _rules(planned)
    return Judge(guard, direction, tools)


def _rules(planned: Plan) -> tuple[Guard, Globs | None]:
    """The tenant's and its key's, and the tools that the key is limited to."""
    tools = planned.principal.scopes.tools
    return _guard(planned), _globs(tools) if tools else None


def _second(planned: Plan, direction: Literal["in", "out"], path: Path) -> "Second | None":
    guardrails = planned.snapshot.guardrails
    chosen = guardrails.bedrock if guardrails else None
    if chosen is None or chosen.direction not in (direction, "both") or planned.sealed is not None:
        return None  # what is sealed nobody outside reads, nor what is said about it
    from chalicelib.inference.second import Second  # only tenants that have one load it

    return Second(planned, "INPUT" if direction == "in" else "OUTPUT", path)


@lru_cache(maxsize=64)
def _globs(tools: tuple[str, ...]) -> Globs:
    return Globs(Tools(allowed=tools))


def _guard(planned: Plan) -> Guard:
    """Raises Forbidden where a key's rules and its tenant's cannot be looked for together any more."""
    principal, guardrails = planned.principal, planned.snapshot.guardrails
    whose = (principal.tenant, principal.subject if principal.rules is not None else "")
    held = _kept.get(whose)
    if held is not None and held[0] is guardrails and held[1] is principal.rules:
        return held[2]
    try:
        guard = compiled(rules_of(principal, planned.snapshot))
    except Unfit:
        raise Forbidden(TOO_LARGE) from None
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[whose] = (guardrails, principal.rules, guard)
    return guard
