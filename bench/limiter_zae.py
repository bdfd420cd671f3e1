"""zae-limiter under `bench.limiter`: `python -m bench.limiter_zae URL SCENARIO THREADS`.

Its synchronous limiter with speculative writes, as its documentation has it; the table by its own definition,
without the CloudFormation stack and the stream aggregator, which are not on the path of a request.
"""

import uuid
import warnings

from zae_limiter import (  # type: ignore[import-not-found]
    Limit,
    RateLimiterUnavailable,
    RateLimitExceeded,
    SyncRateLimiter,
    SyncRepository,
)

from bench.limiter import BUCKET, BURST, RATE, RESERVED_TOKENS, USED_TOKENS, Admitted, Denied, GaveUp, Scenario, main

TOKENS = Limit("tpm", capacity=1_000_000_000, refill_amount=1_000_000_000, refill_period_seconds=60)
LIMITS = {
    "cost": [Limit.per_minute("requests", 600_000), Limit.per_minute("tpm", 100_000_000)],
    "bucket": [Limit("requests", capacity=BUCKET, refill_amount=BUCKET, refill_period_seconds=86_400), TOKENS],
    "curve": [Limit("requests", capacity=BURST, refill_amount=RATE, refill_period_seconds=1), TOKENS],
}


class ZaeLimiter:
    def __init__(self, url: str, scenario: Scenario) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the constructor that makes no stack
            repository = SyncRepository(f"b{uuid.uuid4().hex[:12]}", region="us-east-1", endpoint_url=url)
        repository.create_table()
        self._limiter = SyncRateLimiter(repository=repository)
        self._limits = LIMITS[scenario]

    def take(self) -> Admitted | Denied | GaveUp:
        try:
            with self._limiter.acquire(
                "bench", "model", consume={"requests": 1, "tpm": RESERVED_TOKENS}, limits=self._limits
            ) as lease:
                lease.adjust(tpm=USED_TOKENS - RESERVED_TOKENS)
        except RateLimitExceeded as exceeded:
            return Denied(float(exceeded.retry_after_seconds))
        except RateLimiterUnavailable:
            return GaveUp()
        return Admitted()


if __name__ == "__main__":
    main(ZaeLimiter)
