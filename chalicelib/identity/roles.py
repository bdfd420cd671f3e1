"""What each role may do. The only place that says so."""

from typing import Literal

from chalicelib.tenancy.tenant import Role

Permission = Literal[
    "infer",  # run models
    "models.read",  # see which pools there are
    "usage.read",  # limits, what is used of them, and the ledger
    "responses.manage",  # see and delete the Responses that were kept
    "keys.manage",
    "members.manage",
]

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "owner": frozenset(("infer", "models.read", "usage.read", "responses.manage", "keys.manage", "members.manage")),
    "developer": frozenset(("infer", "models.read", "usage.read", "responses.manage")),
    "analyst": frozenset(("models.read", "usage.read")),
    "viewer": frozenset(("models.read",)),
}
