"""LiteLLM's custom auth hook: the record of one key, as its database would hold it.

LiteLLM keeps virtual keys in PostgreSQL (through Prisma, whose engine is a download of its own). This hook
stands in for that table and costs less than a read of it; everything after the read is LiteLLM's own.
"""

import hashlib
import hmac
import os

from fastapi import HTTPException, Request  # type: ignore[import-not-found]
from litellm.proxy._types import UserAPIKeyAuth  # type: ignore[import-not-found]

_KEY = os.environ["BENCH_KEY"]
_DIGEST = hashlib.sha256(_KEY.encode()).hexdigest()


async def authenticate(_: Request, api_key: str) -> UserAPIKeyAuth:
    if not hmac.compare_digest(hashlib.sha256(api_key.encode()).hexdigest(), _DIGEST):
        raise HTTPException(status_code=401, detail="unknown key")
    return UserAPIKeyAuth(
        api_key=_DIGEST,
        key_alias="bench",
        models=["bench"],
        rpm_limit=100_000_000,
        tpm_limit=2_000_000_000,
        max_parallel_requests=1_000,
        max_budget=1_000_000.0,
        spend=0.0,
        metadata={},
    )
