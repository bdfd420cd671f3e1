"""Cloister's admission under `bench.limiter`: `python -m bench.limiter_cloister URL SCENARIO THREADS`."""

import secrets
import time
import uuid

from bench.limiter import BUCKET, BURST, RATE, RESERVED_TOKENS, USED_TOKENS, Admitted, Denied, GaveUp, Scenario, main
from chalicelib.admission import Admission, Budget, Limits, Rate, Units, new_lease_id
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import open_tables
from chalicelib.ledger import Entry
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import NoCapacity, QuotaExhausted, RateLimited
from chalicelib.tables import models_of

REGION = "us-east-1"
RESERVED = Units(requests=1, tokens=RESERVED_TOKENS)
USED = Units(requests=1, tokens=USED_TOKENS)
NO_TOKENS_LIMIT = Budget("month", "tokens", limit=10**12, window="month")

LIMITS = {
    "cost": Limits(
        rates=(
            Rate("rpm", "requests", count=600_000, period_ms=60_000, burst=600_000),
            Rate("tpm", "tokens", count=100_000_000, period_ms=60_000, burst=100_000_000),
        ),
        budgets=(NO_TOKENS_LIMIT,),
        in_flight=64,
    ),
    "bucket": Limits((Rate("rpd", "requests", BUCKET, 86_400_000, BUCKET),), (NO_TOKENS_LIMIT,), 64),
    "curve": Limits((Rate("rps", "requests", RATE, 1_000, BURST),), (NO_TOKENS_LIMIT,), 64),
}


class Cloister:
    def __init__(self, url: str, scenario: Scenario) -> None:
        tables = open_tables(REGION, f"b{uuid.uuid4().hex[:12]}", 10_000, url)
        models = models_of(tables)
        for model in (models.meters, models.ledger):
            model.create_table(wait=True)
        meters = DynamoMeters(tables, REGION)
        self._epoch = meters.open("bench", _now_ms())
        self._admission = Admission(meters, DynamoLedger(tables), lease_ms=90_000, region=REGION)
        self._limits = LIMITS[scenario]

    def take(self) -> Admitted | Denied | GaveUp:
        now_ms = _now_ms()
        try:
            lease = self._admission.admit(
                tenant="bench",
                epoch=self._epoch,
                limits=self._limits,
                units=RESERVED,
                lease_id=new_lease_id(now_ms, secrets.token_bytes),
                now_ms=now_ms,
            )
        except (RateLimited, QuotaExhausted) as refused:
            return Denied((refused.retry_in_ms or 0) / 1_000)
        except NoCapacity:
            return GaveUp()
        entry = Entry(
            tenant="bench",
            lease_id=lease.lease_id,
            request_id=lease.lease_id,
            outcome="completed",
            reason="",
            used=USED,
            charged=USED,
            admitted_ms=lease.admitted_ms,
            settled_ms=_now_ms(),
            region=REGION,
        )
        self._admission.settle(lease, entry)
        return Admitted()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main(Cloister)
