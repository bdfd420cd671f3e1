"""Who is calling."""

from typing import Literal

import msgspec

from chalicelib.identity.roles import PERMISSIONS, Permission
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.allowed import Allowed, covers_route
from chalicelib.tenancy.tenant import PoolName, Role, Scopes, Subject, SurfaceName
from guard import Rules, holds_all_of

COVERS = "makes, rotates and revokes only keys that"
WHOLE = "use a key that is neither narrowed nor expires"
ASK = "Use one of those, or ask an owner of the tenant to change its guardrails."

Proof = Literal["api_key", "jwt", "session", "iam", "kms"]


class Principal(msgspec.Struct, frozen=True):
    """A caller whose credential was checked, and how it proved itself."""

    tenant: str
    subject: str  # "key:<id>", "member:<subject>", or the ARN of an IAM principal or of a KMS key
    role: Role
    proof: Proof
    scopes: Scopes = Scopes()
    expires_ms: int | None = None  # when the credential ends, if it does
    member: Subject | None = None  # which of the tenant's people it is. None: nobody, but the tenant itself
    emergency: bool = False  # an operator, in the tenant's place
    rules: Rules | None = None  # of what may be said, its key's own, beside the tenant's
    allowed: Allowed | None = None  # what its tenant allows, to everybody. None: all that it has

    @property
    def key(self) -> str:
        """The id of the tenant's key that calls; empty: none does."""
        return self.subject.removeprefix("key:") if self.proof == "api_key" else ""

    def must(self, permission: Permission) -> None:
        """Raises Forbidden unless the role holds the permission."""
        if permission not in PERMISSIONS[self.role]:
            raise Forbidden(
                f"The role {self.role} does not hold the permission {permission}. Ask an owner of the tenant."
            )

    def must_reach(self, surface: SurfaceName) -> None:
        """Raises Forbidden where the key is narrowed to other surfaces."""
        if self.scopes.surfaces and surface not in self.scopes.surfaces:
            raise Forbidden(f"This key is limited to: {', '.join(self.scopes.surfaces)}. Use another key here.")
        if self.allowed is not None and not self.allowed.opens(surface):
            raise Forbidden(f"Your tenant allows these surfaces: {_listed(self.allowed.surfaces)}. {ASK}")

    def must_come_by(self, route: str, surface: SurfaceName) -> None:
        """Raises Forbidden where the key, or the tenant, is narrowed to other surfaces, or to other routes.

        `route`: a method and a path, as docs/api.md lists them; `surface`: whose it is.
        """
        self.must_reach(surface)
        if self.scopes.routes and not covers_route(self.scopes.routes, route):
            raise Forbidden(f"This key is limited to: {_listed(self.scopes.routes)}. Use another key for {route}.")
        if self.allowed is not None and not self.allowed.leads(route, surface):
            raise Forbidden(f"Your tenant allows these routes: {_listed(self.allowed.routes)}, and not {route}. {ASK}")

    def must_be_offered(self, pool: PoolName) -> None:
        """Raises Forbidden where the tenant, which has the pool, allows others alone."""
        if self.allowed is not None and not self.allowed.offers(pool):
            raise Forbidden(f"Your tenant allows these models: {_listed(self.allowed.pools)}, and not {pool}. {ASK}")

    def must_cover(self, role: Role, scopes: Scopes, expires_ms: int | None, rules: Rules | None = None) -> None:
        """Raises Forbidden where such a key could do more than this one, or longer.

        Nobody gives what they lack, or takes it from others.
        """
        if not PERMISSIONS[role] <= PERMISSIONS[self.role]:
            raise Forbidden(f"The role {self.role} makes and revokes no key of the role {role}, which may do more.")
        ends_ms = self._given_until_ms
        if ends_ms is not None and (expires_ms is None or expires_ms > ends_ms):
            raise Forbidden(f"This key expires: it {COVERS} do not outlive it. Set an earlier expiry, or {WHOLE}.")
        wider = scopes.outside(self.scopes)
        if wider is not None:
            mine = _listed(getattr(self.scopes, wider))
            raise Forbidden(
                f"This key is limited to the {wider} {mine}: it {COVERS} are so, too. Narrow the key, or {WHOLE}."
            )
        if self.rules is not None and (rules is None or not holds_all_of(rules, self.rules)):
            raise Forbidden(
                f"This key has guardrails of its own: it {COVERS} have all of them, too. Add them, or {WHOLE}."
            )

    def must_be_whole(self) -> None:
        """Raises Forbidden where the key is narrowed, or ends: what it would change reaches further, or stays."""
        if self.scopes != Scopes() or self.rules is not None or self._given_until_ms is not None:
            raise Forbidden(f"What is changed here reaches further than this key, or outlives it: {WHOLE}.")

    @property
    def _given_until_ms(self) -> int | None:
        """Until when somebody may do this at all. Tokens and sessions end, but their member signs in again."""
        return None if self.proof in ("jwt", "session") else self.expires_ms

    def may_use(self, pool: str) -> bool:
        if self.scopes.pools and pool not in self.scopes.pools:
            return False
        return self.allowed is None or self.allowed.offers(pool)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20])
