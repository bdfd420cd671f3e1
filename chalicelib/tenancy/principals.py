"""The IAM principals that tenants come in by: users and roles, each of one tenant.

| document          | under       | says                                                 |
|-------------------|-------------|------------------------------------------------------|
| `principal#<ARN>` | `~platform` | Owner: whose principal this is                       |
| `tenant`          | tenant      | `principals`: by whom its signed requests are signed |
"""

import re
from collections.abc import Iterable

import msgspec

from chalicelib.documents import PLATFORM, Document
from chalicelib.refusal import Conflict
from chalicelib.tenancy.ownership import Owner
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.tenant import Tenant

_PREFIX = "principal#"
_SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.+")
_PATH_OF_A_ROLE = re.compile(r"(?<=:role/).*/")


class Principals:
    """Every change of a tenant's principals. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, arns: Iterable[str]) -> Tenant:
        """Whoever signs as one of these, and nobody else, is the tenant, from the next request on.

        Raises Conflict, also where one of them is another tenant's.
        """
        # Owners are read before the tenant, and always written: of two changes at the same time, one then meets a
        # newer version of the tenant's document, or of an owner that it would delete.
        owners = {document.name: document for document in self._records.under(PLATFORM, _PREFIX)}
        document = self._records.get(tenant_id, "tenant", f"tenant {tenant_id}")
        wanted = {principal_of(arn): None for arn in arns}
        own = {name for name, owner in owners.items() if value(owner, Owner).tenant == tenant_id}
        for arn in wanted:
            if owner_document(arn) in owners.keys() - own:
                raise Conflict(f"{arn} is another tenant's principal. Take it from that tenant first.")
        for arn in wanted:
            held = owners.get(owner_document(arn))
            owner = Document(PLATFORM, owner_document(arn), text(Owner(tenant_id)), held.version if held else 0)
            self._records.write(owner)
        changed = msgspec.structs.replace(value(document, Tenant), principals=tuple(wanted))
        self._records.replace(document, changed)
        for name in own - {owner_document(arn) for arn in wanted}:
            self._records.delete(owners[name])
        return changed


def owner_document(principal: str) -> str:
    """The name of the document that says whose it is."""
    return f"{_PREFIX}{principal}"


def principal_of(arn: str) -> str:
    """The ARN by which a tenant names who signed as `arn`: for a session its role's.

    A role stands without its path, which the ARN of a session does not tell; in one account, no two roles have the
    same name (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html).
    """
    session = _SESSION.fullmatch(arn)
    if session is not None:
        return f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
    return _PATH_OF_A_ROLE.sub("", arn)
