"""Whose requests are counted together, by whose rules, and who is told that one was broken."""

import hashlib

import msgspec

from chalicelib.documents import PLATFORM
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.velocity.networks import subscriber_of

ADDRESS = "~address#"
"""How places of addresses begin; no tenant's id does."""


class Whose(msgspec.Struct, frozen=True):
    """Requests that are counted together, apart from all others."""

    place: str  # of their windows
    called: str  # in a refusal
    ask: str  # whom to ask about it
    told: str  # whose list says what was broken: the platform's, or a tenant's own
    prefix: str = ""  # of the ids of reviews, where a list has several of a kind


def operators(tenant: str) -> Whose:
    """The tenant's, by the operator's rules."""
    return Whose(tenant, "This tenant", "the operator of the service", PLATFORM)


def owners(tenant: str) -> Whose:
    """The tenant's, by the rules of its owners. No id of a tenant has a # in it."""
    return Whose(f"{tenant}#own", "This tenant", "one of its owners", tenant)


def keys(tenant: str, key: str) -> Whose:
    """One key's, by the rules that the owners have for it."""
    return Whose(f"{tenant}#key:{key}", "This key", "an owner of its tenant", tenant, f"{key}-")


def address(source: NetworkSource) -> Whose:
    """One address, whatever tenants it calls. A digest stands for it, which fits the window's name and says little."""
    digest = hashlib.sha256(b"cloister address\0" + subscriber_of(source).encode()).hexdigest()[:32]
    return Whose(f"{ADDRESS}{digest}", "This address", "the operator of the service", PLATFORM)
