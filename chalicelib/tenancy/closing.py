"""What is left of a tenant whose data is erased: its id, which no other tenant is given, and what its chains need.

From then on it lets in nobody but the one key that reads what became of the data. It is not opened again.
"""

from chalicelib.clock import Clock
from chalicelib.tenancy.records import Records
from chalicelib.tenancy.tenant import Tenant

ERASED = "The tenant's data was erased, or is being erased: nothing of it is changed any more. Create another tenant."


class Closing:
    """Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def close(self, tenant_id: str) -> Tenant:
        """Forget all that it had set. From the next request on it runs nothing, and its keys and sessions open nothing.

        Repeating it changes nothing, but for the epoch.
        """
        before_ms = self._clock() - 1  # so that a key that is made from now on is not among those of before

        def closed(tenant: Tenant) -> Tenant:
            return tenant if tenant.status == "erased" else left(tenant, before_ms)

        return self._records.change_tenant(tenant_id, closed)


def left(tenant: Tenant, before_ms: int) -> Tenant:
    """Whatever keys it has that were made until then open nothing. The operator's numbers stay as they are."""
    return Tenant(
        id=tenant.id,
        name="",
        status="erased",
        limits=tenant.limits,
        created_ms=tenant.created_ms,
        retention_days=tenant.retention_days,
        taken_down_ms=before_ms,
    )
