"""What each role may do. The only place that says so."""

from typing import Literal

from chalicelib.tenancy.tenant import Role

Permission = Literal[
    "infer", "models.read", "usage.read", "responses.manage", "keys.manage", "members.manage", "guardrails.manage",
    "sessions.manage", "data.manage",
]  # fmt: skip

MEANING: dict[Permission, str] = {
    "infer": "run models",
    "models.read": "list models, see the enclave's attestation",
    "usage.read": "see the tenant, its limits, what is used of them, and the ledger",
    "responses.manage": "see and delete Responses that were kept",
    "keys.manage": "API keys and KMS keys",
    "members.manage": "members, the tenant's own roles, and whose tokens its members come in with",
    "guardrails.manage": "the rules of what may be said to models, and by them",
    "data.manage": "take all of the tenant's data along, and have it erased",
    "sessions.manage": "leave; see and end one's own sessions; with `members.manage`, everybody's",
}
"""What each lets somebody do, as docs/api.md says it."""

_EVERYBODYS: tuple[Permission, ...] = ("models.read", "sessions.manage")

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "owner": frozenset(MEANING),
    "developer": frozenset((*_EVERYBODYS, "infer", "usage.read", "responses.manage")),
    "analyst": frozenset((*_EVERYBODYS, "usage.read")),
    "viewer": frozenset(_EVERYBODYS),
}
