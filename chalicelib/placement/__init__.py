"""Which target runs a call, and how each of them is.

place    Placement: run a call at the first target that begins to answer; put a question to an enclave
choose   which targets, in which order: pure      breaker   when one is left alone: a value
health   what this sandbox knows of its targets   probes    asking them how they are
failure  why a target failed: a value              watch     telling operators, whichever sandbox they ask
report   how they were when they were last asked: kept for /health
timing   how fast a server answers that runs anyway
"""

from chalicelib.placement.place import Look, PlacedCall, Placement, TargetState

__all__ = ["Look", "PlacedCall", "Placement", "TargetState"]
