"""Who is calling."""

from typing import Literal

import msgspec

from chalicelib.identity.roles import PERMISSIONS, Permission
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.tenant import Role, Scopes, Subject, SurfaceName

COVERS = "makes, rotates and revokes only keys that"
WHOLE = "use a key that is neither narrowed nor expires"

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

    def must_cover(self, role: Role, scopes: Scopes, expires_ms: int | None) -> None:
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
            mine = ", ".join(getattr(self.scopes, wider)[:20])
            raise Forbidden(
                f"This key is limited to the {wider} {mine}: it {COVERS} are so, too. Narrow the key, or {WHOLE}."
            )

    def must_be_whole(self) -> None:
        """Raises Forbidden where the key is narrowed, or ends: what it would change reaches further, or stays."""
        if self.scopes != Scopes() or self._given_until_ms is not None:
            raise Forbidden(f"What is changed here reaches further than this key, or outlives it: {WHOLE}.")

    @property
    def _given_until_ms(self) -> int | None:
        """Until when somebody may do this at all. Tokens and sessions end, but their member signs in again."""
        return None if self.proof in ("jwt", "session") else self.expires_ms

    def may_use(self, pool: str) -> bool:
        return not self.scopes.pools or pool in self.scopes.pools
