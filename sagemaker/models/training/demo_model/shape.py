"""The sizes of the network, apart from torch, so that the export can be checked without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. A head has 64 dimensions because every attention kernel of vLLM supports that."""

    vocabulary: int = 1536
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    intermediate: int = 640
    context: int = 2048
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
