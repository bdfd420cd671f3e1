"""A tenant's limits as they were set last: what the shares of a divided meter are shares of."""

from collections.abc import Callable

from chalicelib.admission import Limits
from chalicelib.documents import Documents
from chalicelib.refusal import NotFound
from chalicelib.tenancy.records import value
from chalicelib.tenancy.tenant import Tenant


def set_limits(documents: Documents) -> Callable[[str], tuple[Limits, int]]:
    """A reader of them: the limits, and the version of the document. It raises NotFound, StoreUnavailable."""

    def read(tenant: str) -> tuple[Limits, int]:
        document = documents.get(tenant, "tenant")
        if document is None:
            raise NotFound(f"There is no tenant {tenant}.")
        return value(document, Tenant).limits, document.version

    return read
