"""The second stage on the path: prompts that a tenant's rules let pass, and answers, before a guardrail of Bedrock's.

Loaded for tenants that have one. Counted are calls, units of text as AWS bills them, and faults; never content.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from chalicelib.admission import StaleEpoch
from chalicelib.dialects.apply_guardrail import Source, Unanswered, Verdict
from chalicelib.guardrails.second import PROMPT_UNJUDGED, SecondJudge, judged
from chalicelib.guardrails.stage import RULE, UNJUDGED, Stage
from chalicelib.inference.path import Path
from chalicelib.inference.plan import Plan
from chalicelib.pool import BedrockGuardrail
from chalicelib.refusal import NoCapacity
from guard.bodies import NotAllowed, prompts
from guard.judge import Guard
from guard.tools import Globs

RETRY_IN_MS = 1_000
MOST_REMEMBERED = 256


class Second:
    """The second stage of one request's prompt, or of its answer."""

    def __init__(self, planned: Plan, source: Source, path: Path) -> None:
        guardrails = planned.snapshot.guardrails
        assert guardrails is not None and guardrails.bedrock is not None
        self._chosen = guardrails.bedrock
        self._planned = planned
        self._source: Source = source
        self._path = path
        offered = planned.snapshot.tenant.bedrock_guardrails
        self._guardrail = next((each for each in offered if each.name == self._chosen.guardrail), None)
        self._took_ms = 0
        self._stage = Stage(self._asked, self._chosen.on_fault)

    def prompt(self, fields: prompts.Fields, within: str, guard: Guard) -> prompts.Fields:
        """As prompts.judged. Raises NotAllowed; where nobody could judge it NoCapacity, or StaleEpoch."""
        try:
            return judged(lambda judge: prompts.judged(fields, judge, within), guard, self._stage)
        except NotAllowed as refused:
            if refused.rule == UNJUDGED:
                self._must_be_current()
                raise NoCapacity(PROMPT_UNJUDGED, retry_in_ms=RETRY_IN_MS, symptom=UNJUDGED) from None
            raise
        finally:
            self.tell()

    def _must_be_current(self) -> None:
        """What is closed may be open, or another, by now: no admission follows that would notice. Raises StaleEpoch."""
        snapshot = self._planned.snapshot
        if self._path.snapshots.fresh(snapshot.tenant.id).epoch != snapshot.epoch:
            raise StaleEpoch

    def answer(self, guard: Guard, tools: Globs | None) -> SecondJudge:
        """Who judges it, in one piece or in chunks. Whoever is done with it has to `tell`."""
        return SecondJudge(guard, tools, self._stage)

    def tell(self) -> None:
        """Count what was asked."""
        stage, now_ms = self._stage, self._path.clock()
        facts = {
            "tenant": self._planned.principal.tenant,
            "request_id": self._planned.call.request_id,
            "where": "prompt" if self._source == "INPUT" else "answer",
            "guardrail": self._chosen.guardrail,
        }
        if stage.calls:
            units = {f"{name}_units": count for name, count in stage.units.items()}
            self._path.telemetry.count(
                "GuardrailApplied", now_ms, **facts, calls=stage.calls, took_ms=self._took_ms, **units
            )
        for symptom, count in stage.faults.items():
            self._path.telemetry.count(
                "GuardrailFaults", now_ms, **facts, symptom=symptom, faults=count, on_fault=self._chosen.on_fault
            )
        if stage.masked:
            told = {name: facts[name] for name in ("tenant", "request_id", "where")}
            self._path.telemetry.count("GuardFindings", now_ms, **told, rule=RULE, findings=stage.masked)

    def _asked(self, texts: Sequence[str]) -> Verdict:
        guardrail, path = self._guardrail, self._path
        if guardrail is None or path.apply_guardrail is None:
            raise Unanswered("not offered any more" if guardrail is None else "nobody to ask")
        digest = _digest(self._planned.call.request_id, guardrail, texts) if self._source == "INPUT" else None
        said = _said.get(digest) if digest is not None else None
        if said is not None:
            return said
        began_ms = path.clock()
        try:
            verdict = path.apply_guardrail()(guardrail, self._source, texts, self._chosen.deadline_ms)
        finally:
            self._took_ms += path.clock() - began_ms
        if digest is not None and verdict.kind != "masked":
            _said[digest] = Verdict(verdict.kind)
            if len(_said) > MOST_REMEMBERED:
                _said.popitem(last=False)
        return verdict


_said: "OrderedDict[bytes, Verdict]" = OrderedDict()
"""What was said of prompts lately. One that is refused, or whose admission has to be tried again, is judged again on a
fresh snapshot: by the same guardrail, that costs no second call. By digest, of one request each; masks are not kept."""


def _digest(request_id: str, guardrail: BedrockGuardrail, texts: Sequence[str]) -> bytes:
    told = hashlib.sha256()
    for part in (request_id, guardrail.arn, guardrail.version, *texts):
        written = part.encode(errors="surrogatepass")
        told.update(b"%d " % len(written))
        told.update(written)
    return told.digest()
