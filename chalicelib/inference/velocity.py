"""A tenant's rules of velocity on the path: counted before it is admitted, by whoever may run it."""

import hashlib

from chalicelib.admission import StaleEpoch
from chalicelib.inference.path import Path
from chalicelib.inference.plan import NEVER_PROMPT, Ask, Plan
from chalicelib.refusal import RateLimited
from chalicelib.tenancy.tenant import What
from chalicelib.velocity.reviews import Evidence


def must_be_moderate(planned: Plan, ask: Ask, path: Path, now_ms: int) -> None:
    """Raises RateLimited, where the rules are current; StaleEpoch where they are not; StoreUnavailable."""
    principal, snapshot = planned.principal, planned.snapshot
    address = str(ask.source)

    def tell(what: What) -> bytes:
        if what == "prompts":
            return prompt_of(ask)
        return (principal.subject if what == "keys" else address).encode()

    evidence = Evidence(principal.tenant, principal.subject, address)
    try:
        path.velocity.judge(snapshot.tenant.velocity, evidence, tell, now_ms)
    except RateLimited:
        if path.snapshots.fresh(principal.tenant).epoch != snapshot.epoch:  # no admission follows that would notice
            raise StaleEpoch from None
        raise


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
