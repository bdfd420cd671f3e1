"""What each role may do. The only place that says so."""

from typing import Literal

from chalicelib.tenancy.tenant import Role

Permission = Literal[
    "infer",  # run models
    "models.read",  # see which pools there are
    "usage.read",  # limits, what is used of them, and the ledger
    "keys.manage",
    "members.manage",
]

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "owner": frozenset(("infer", "models.read", "usage.read", "keys.manage", "members.manage")),
    "developer": frozenset(("infer", "models.read", "usage.read")),
    "analyst": frozenset(("models.read", "usage.read")),
    "viewer": frozenset(("models.read",)),
}
