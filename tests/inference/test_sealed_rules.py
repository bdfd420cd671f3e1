"""Sealed requests of a tenant with rules, on the path: what goes along, what is learnt of them, what they cost."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Started, Usage, Waiting
from chalicelib.engines.scripted import Step
from chalicelib.pool import Target
from chalicelib.refusal import ContentRefused, Forbidden
from guard import Rule, Rules, SentRules, Topic, strictest
from guard.bodies import NOT_THE_KEYS, REFUSED
from sealed import ticket as tickets
from tests.inference.test_sealed import BLOB, Acme, opened
from tests.sight.kept import Kept

RULES = Rules(rules=(Rule("badge", r"\bid-\d{4}\b"),), refusal="Not here.")


def guarded(script: Any = opened, rules: Rules = RULES) -> tuple[Acme, Kept]:
    acme, heard = Acme(script), Kept()
    if rules != Rules():
        acme.deployment.tenancy.guardrails.put("acme", rules)
    acme.path = msgspec.structs.replace(acme.path, telemetry=heard)
    return acme, heard


def of_rules(heard: Kept) -> list[tuple[str, Any]]:
    return [
        (metric, (facts["tenant"], facts["rule"]))
        for metric, facts in heard.counted
        if metric in ("GuardFindings", "ContentRefused")
    ]


def sent(acme: Acme, number: int = 0) -> tuple[tickets.Claims, bytes, bytes]:
    """Claims, rules and request, as a container gets them."""
    body = acme.called[number].sealed
    end = 2 + int.from_bytes(body[:2])
    claims = tickets.read(body[2:end])
    return claims, *tickets.parts(claims, body[end:])


def test_the_rules_go_along_and_the_ticket_names_them() -> None:
    acme, _ = guarded()
    assert acme.answered() == b"sealed answer"
    claims, rules, request = sent(acme)
    assert (rules, request) == (SentRules(RULES).written(), BLOB)
    assert claims.rules_sha256 == hashlib.sha256(rules).hexdigest()
    assert claims.body_sha256 == hashlib.sha256(BLOB).hexdigest()


def test_what_a_key_is_limited_to_goes_along_whether_its_tenant_has_rules_or_not() -> None:
    for rules in (Rules(), RULES):
        acme, _ = guarded(rules=rules)
        assert acme.answered(credential=_narrowed(acme)) == b"sealed answer"
        assert SentRules.read(sent(acme)[1]) == SentRules(rules, ("get_*",))


def test_a_keys_own_rules_go_along_with_its_tenants() -> None:
    own = Rules(packs=("mail",), max_prompt_bytes=99)
    for rules in (Rules(), RULES):
        acme, _ = guarded(rules=rules)
        key = acme.deployment.key("acme", "developer", guardrails=own)
        assert acme.answered(credential=key) == b"sealed answer"
        assert SentRules.read(sent(acme)[1]).rules == strictest(rules, own)


def test_rules_that_are_too_many_together_are_told_as_that_and_cost_nothing() -> None:
    def topics(whose: str) -> Rules:
        return Rules(
            topics=tuple(Topic(f"{whose}{n}", tuple(f"phrase {whose} {n} {k}" * 3 for k in range(8))) for n in range(6))
        )

    acme, _ = guarded(rules=topics("a"))
    with pytest.raises(Forbidden, match="together"):
        acme.run(credential=acme.deployment.key("acme", "developer", guardrails=topics("b")))
    assert not acme.called
    assert not acme.entries()


def test_where_there_are_no_rules_the_ticket_says_nothing_of_them() -> None:
    acme, heard = guarded(rules=Rules())
    assert acme.answered() == b"sealed answer"
    assert b"rules" not in acme.called[0].sealed
    assert of_rules(heard) == []


def test_of_what_was_found_is_told_that_it_was() -> None:
    def found(_target: Target, _call: Call) -> Iterable[Step]:
        return Started("i-1"), Delta(b"sealed answer", 3), Finished(Usage(11, 3), found=True)

    acme, heard = guarded(found)
    assert acme.answered() == b"sealed answer"
    assert of_rules(heard) == [("GuardFindings", ("acme", "sealed request"))]
    (entry,) = acme.entries()
    assert (entry.outcome, entry.charged.tokens) == ("completed", 14)


@pytest.mark.parametrize(
    ("rules", "text"),
    [(RULES, "Not here."), (msgspec.structs.replace(RULES, refusal=""), REFUSED), (Rules(), NOT_THE_KEYS)],
)
def test_a_prompt_that_is_refused_costs_nothing_and_is_told_in_the_tenants_words(rules: Rules, text: str) -> None:
    acme, heard = guarded(lambda _target, _call: (ContentRefused("its own words"),), rules)
    with pytest.raises(ContentRefused) as refused:
        acme.run(credential=_narrowed(acme))
    assert refused.value.text == text
    (entry,) = acme.entries()
    assert (entry.outcome, entry.reason, entry.charged.tokens) == ("failed", "ContentRefused", 0)
    assert of_rules(heard) == [("ContentRefused", ("acme", "sealed request"))]


@pytest.mark.parametrize(("usage", "tokens"), [(Usage(11, 3), 14), (None, 84 + 2), (Usage(), 0)])
def test_an_answer_that_is_refused_is_charged_what_was_generated(usage: Usage | None, tokens: int) -> None:
    def broken(_target: Target, _call: Call) -> Iterable[Step]:
        refused = ContentRefused("its own words")
        refused.usage = usage
        return Waiting(1, 5), Started("i-1"), Delta(b"sealed", 2), refused

    acme, heard = guarded(broken)
    with pytest.raises(ContentRefused) as refused, acme.run() as answer:
        list(answer)
    assert refused.value.text == "Not here."
    (entry,) = acme.entries()
    assert (entry.outcome, entry.reason, entry.charged.tokens) == ("failed", "ContentRefused", tokens)
    assert of_rules(heard) == [("ContentRefused", ("acme", "sealed request"))]


def _narrowed(acme: Acme) -> str:
    return acme.deployment.key("acme", tools=("get_*",))
