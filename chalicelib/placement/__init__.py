"""Which target runs a call: `choose` is pure, `breaker` is a value, `fallover` runs it.

Imports nothing here, because the engines import `placement.pool`.
"""
