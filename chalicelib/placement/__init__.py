"""Which target runs a call: `choose` is pure, `breaker` is a value, `place` runs it.

Imports nothing here, because the engines import `placement.pool`.
"""
