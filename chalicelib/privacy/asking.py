"""Asking for an erasure: the tenant is closed at once, and one key is left, which reads what becomes of the data."""

from typing import Literal

import msgspec

from chalicelib.documents import Changed
from chalicelib.privacy.records import Erasure, Erasures
from chalicelib.randomness import Randomness
from chalicelib.refusal import Conflict
from chalicelib.tenancy import PLATFORM_TENANT, Tenancy
from chalicelib.tenancy.tenant import Scopes

RECEIPT_DAYS = 90
RECEIPT_ROUTES = ("GET /tenants/{tenant}/data/*", "GET /tenants/{tenant}/audit/*")
LABEL = "reads what became of the data"
DAY_MS = 86_400_000


def ask(
    tenant: str,
    by: Literal["owner", "operator"],
    erasures: Erasures,
    tenancy: Tenancy,
    randomness: Randomness,
    now_ms: int,
) -> tuple[Erasure, str]:
    """The erasure as it begins, and the text of the key. Raises NotFound, Conflict; StoreUnavailable."""
    if tenant == PLATFORM_TENANT:
        raise Conflict("The platform's own tenant is not erased: it holds the list of all erasures.")
    try:
        # First of all that is written: for whoever dies after it, the schedule goes on.
        erasures.begin(Erasure(tenant, randomness(16).hex(), by, now_ms))
        tenancy.closing.close(tenant)
        scopes, expires_ms = Scopes(routes=RECEIPT_ROUTES), now_ms + RECEIPT_DAYS * DAY_MS
        key, text = tenancy.create_key(tenant, "analyst", label=LABEL, scopes=scopes, expires_ms=expires_ms)
        erasure, document = erasures.of(tenant)
        erasure = msgspec.structs.replace(erasure, receipt=key.id)
        erasures.keep(erasure, document)
    except Changed:
        raise Conflict("Somebody else asks for the same just now. Look at the report, or repeat.") from None
    return erasure, text.text
