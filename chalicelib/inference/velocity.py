"""Rules of velocity on the path: the owners' for a key and for the tenant, then the operator's.

A request is counted before it is admitted, by whoever may run it; what guardrails find in its answer, when that ends.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache

from chalicelib.admission import StaleEpoch
from chalicelib.identity import Principal
from chalicelib.inference.path import Path
from chalicelib.inference.plan import NEVER_PROMPT, Ask, Plan, rules_of
from chalicelib.refusal import RateLimited, StoreUnavailable
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.guardrails import telling
from chalicelib.tenancy.snapshot import Snapshot
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.tenancy.tenant import VelocityRule, What
from chalicelib.velocity import FINDINGS
from chalicelib.velocity.reviews import Evidence
from chalicelib.velocity.whose import Whose, keys, operators, owners
from chalicelib.velocity.whose import address as address_of_all


def must_be_moderate(planned: Plan, ask: Ask, found: Mapping[str, int], path: Path, now_ms: int) -> None:
    """`found`: by guardrails, in the prompt.

    The narrowest rules first: what a key's refuse is counted to nobody else.

    Raises: RateLimited, where the rules are current; StaleEpoch where they are not; StoreUnavailable.
    """
    principal, snapshot = planned.principal, planned.snapshot
    found = _telling(found, principal, snapshot)
    address = str(ask.source)

    @cache
    def prompt() -> bytes:  # may be long, and asked for by each window
        return prompt_of(ask)

    def tell(what: What) -> bytes | None:
        match what:
            case "prompts":
                return prompt()
            case "findings":
                return b"prompt" + prompt() if found else None
            case "keys":
                return principal.subject.encode()
            case "addresses":
                return address.encode()
            case "tenants":
                return principal.tenant.encode()

    evidence = Evidence(principal.tenant, principal.subject, address, found)
    known = path.velocity.reputation.known
    if known.watched.entry_for(ask.source, now_ms) is not None:
        path.velocity.watch(evidence, now_ms)
    try:
        for whose, rules in _rules(principal, snapshot):
            path.velocity.judge(whose, rules, evidence, tell, now_ms)
        if known.rules:
            of_all = Evidence(PLATFORM_TENANT, f"{principal.tenant} {principal.subject}", address)
            path.velocity.judge(address_of_all(ask.source), known.rules, of_all, tell, now_ms)
    except RateLimited:
        if path.snapshots.fresh(principal.tenant).epoch != snapshot.epoch:  # no admission follows that would notice
            raise StaleEpoch from None
        raise


def tell_of_prompt(found: Mapping[str, int], ask: Ask, principal: Principal, snapshot: Snapshot, path: Path) -> None:
    """Of one that guardrails have refused: what they found."""
    found = _telling(found, principal, snapshot)
    if found:
        evidence = Evidence(principal.tenant, principal.subject, str(ask.source), found)
        _count(b"prompt" + prompt_of(ask), evidence, principal, snapshot, path)


def tell_of_answer(found: Mapping[str, int], lease_id: str, planned: Plan, source: NetworkSource, path: Path) -> None:
    """Of one that is over: what guardrails found in it."""
    principal, snapshot = planned.principal, planned.snapshot
    found = _telling(found, principal, snapshot)
    if found:
        evidence = Evidence(principal.tenant, principal.subject, str(source), found)
        _count(b"answer" + lease_id.encode(), evidence, principal, snapshot, path)


def _telling(found: Mapping[str, int], principal: Principal, snapshot: Snapshot) -> Mapping[str, int]:
    return telling(rules_of(principal, snapshot), found) if found else {}


def _count(said: bytes, evidence: Evidence, principal: Principal, snapshot: Snapshot, path: Path) -> None:
    """What is over already can be throttled no more, and is not held up by a store that does not answer."""

    def tell(what: What) -> bytes | None:
        return said if what == "findings" else None

    for whose, rules in _rules(principal, snapshot):
        try:
            path.velocity.judge(whose, rules, evidence, tell, path.clock())
        except RateLimited:
            pass
        except StoreUnavailable:
            path.telemetry.count("FindingsUncounted", path.clock(), tenant=principal.tenant)


def _rules(principal: Principal, snapshot: Snapshot) -> Iterator[tuple[Whose, tuple[VelocityRule, ...]]]:
    tenant = snapshot.tenant
    if principal.key in tenant.key_velocity:
        yield keys(tenant.id, principal.key), tenant.key_velocity[principal.key]
    if tenant.own_velocity:
        yield owners(tenant.id), tenant.own_velocity
    rules = tenant.velocity
    judged = snapshot.guardrails is not None or principal.rules is not None
    if judged and not any(rule.what == "findings" for rule in rules):
        rules = (*rules, FINDINGS)
    if rules:
        yield operators(tenant.id), rules


def prompt_of(ask: Ask) -> bytes:
    """A digest of all that may reach the prompt; of a sealed request, which is another each time."""
    if ask.sealed is not None:
        return hashlib.sha256(ask.sealed.body).digest()
    told = hashlib.sha256()
    for name in sorted(ask.fields):
        if name not in NEVER_PROMPT:
            text = bytes(ask.fields[name])
            told.update(f"{name}\0{len(text)}\0".encode())
            told.update(text)
    return told.digest()
