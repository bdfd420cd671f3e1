"""The issuers of a tenant's own: OpenID Connect, for people who sign in with their company.

They stand in the tenant's document, so that each change moves its epoch: a token of an issuer that is taken away opens
nothing from the next request on.
"""

from collections.abc import Sequence

import msgspec

from chalicelib.refusal import Malformed
from chalicelib.tenancy.records import Records
from chalicelib.tenancy.tenant import Issuer, Tenant

MOST_ISSUERS = 5


class Issuers:
    """Every change of a tenant's issuers. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, issuers: Sequence[Issuer]) -> Tenant:
        """These, and no others, from the next request on. Raises Malformed for one that lets in nobody, or anybody."""
        must_be_sound(issuers)
        return self._records.change_tenant(
            tenant_id, lambda tenant: msgspec.structs.replace(tenant, issuers=tuple(issuers))
        )


def must_be_sound(issuers: Sequence[Issuer]) -> None:
    """Raises Malformed."""
    if len(issuers) > MOST_ISSUERS:
        raise Malformed(f"A tenant has {MOST_ISSUERS} issuers at most.", field="issuers")
    for index, issuer in enumerate(issuers):
        if any(other.url == issuer.url for other in issuers[:index]):
            raise Malformed(
                "This issuer is there twice: name all its audiences and client_ids once.", field=f"issuers[{index}].url"
            )
        if not (issuer.audiences or issuer.client_ids or issuer.scopes):
            raise Malformed(
                "An issuer makes tokens for many programs: say which ones are for you, by `audiences`, `client_ids` or "
                "`scopes`.",
                field=f"issuers[{index}].audiences",
            )
        if bool(issuer.roles) != bool(issuer.groups_claim):
            raise Malformed(
                "`groups_claim` and `roles` belong together: the claim that lists groups, and a role for each group.",
                field=f"issuers[{index}].roles",
            )
