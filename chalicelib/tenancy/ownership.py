"""Whose something is that only one tenant can have: a KMS key, an IAM principal.

An owner's document stands under `~platform`. It is written before the tenant's own document, and goes after it:
whoever dies between the two leaves an owner without the thing, never a thing without its owner. Repeating the change
completes it.
"""

import msgspec


class Owner(msgspec.Struct, frozen=True):
    """The one tenant whose it is."""

    tenant: str
