"""Amounts of everything that is limited or billed."""

from typing import Literal

import msgspec

Unit = Literal["requests", "tokens", "micro_usd", "gpu_ms"]


class Units(msgspec.Struct, frozen=True):
    """Amounts of everything that is limited or billed. Integers, never negative."""

    requests: int = 0
    tokens: int = 0
    micro_usd: int = 0
    gpu_ms: int = 0

    def of(self, unit: Unit) -> int:
        amount: int = getattr(self, unit)
        return amount

    def at_most(self, ceiling: "Units") -> "Units":
        return Units(
            requests=min(self.requests, ceiling.requests),
            tokens=min(self.tokens, ceiling.tokens),
            micro_usd=min(self.micro_usd, ceiling.micro_usd),
            gpu_ms=min(self.gpu_ms, ceiling.gpu_ms),
        )
