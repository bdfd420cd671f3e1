"""What the status page shows: components, as operators name them."""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import msgspec

from chalicelib.pool import PoolName
from chalicelib.refusal import Malformed

MOST_COMPONENTS = 30
MOST_TIMED = 8
MOST_POOLS = 20

ComponentId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$(?!\n)",
        description="1 to 40 small letters, digits or `-`, which begin and end with a letter or a digit",
    ),
]
Line = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f\u2028\u2029][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$(?!\n)",
        min_length=1,
        max_length=120,
        description="one line of 1 to 120 characters",
    ),
]
"""No control characters: it becomes the subject of a mail."""

Watched = Literal["api", "sign_in", "url", "pools", "nothing"]


class Component(msgspec.Struct, frozen=True):
    """`watches`: the `api` (its `/ready`, at the public address), `sign_in` (the issuer's discovery document), a `url`
    that answers 200, the targets of `pools`, or `nothing`: then only incidents tell how it is.

    `timed`: of a component of pools, whose model answers a short question every quarter of an hour, to be timed.
    """

    id: ComponentId
    name: Line
    watches: Watched
    url: Annotated[str, msgspec.Meta(max_length=500)] = ""
    pools: Annotated[tuple[PoolName, ...], msgspec.Meta(max_length=MOST_POOLS)] = ()
    timed: bool = False


def must_be_sound(components: Sequence[Component]) -> None:
    """Raises Malformed, naming what does not fit together."""
    if len({each.id for each in components}) < len(components):
        raise Malformed("Two components have the same `id`.", field="components")
    if sum(each.timed for each in components) > MOST_TIMED:
        raise Malformed(f"At most {MOST_TIMED} components are timed.", field="components")
    for number, each in enumerate(components):
        where = f"components[{number}]"
        if (each.watches == "pools") != bool(each.pools):
            raise Malformed("`pools` are named where they are watched, and only there.", field=f"{where}.pools")
        if (each.watches == "url") != bool(each.url):
            raise Malformed("A `url` is named where it is watched, and only there.", field=f"{where}.url")
        if each.timed and not each.pools:
            raise Malformed("Only a component of `pools` can be timed.", field=f"{where}.timed")


def must_be_known(components: Collection[str], known: Collection[str]) -> None:
    """Raises Malformed for an id that is none of those known."""
    for each in components:
        if each not in known:
            raise Malformed(f"There is no component `{each}`.", field="components")


def unless_told(*, public_url: str, issuer: str) -> tuple[Component, ...]:
    """What is watched where the operator has not said: what there is of the service's own."""
    found = [Component("api", "API", "api")] if public_url else []
    return (*found, *([Component("sign-in", "Sign-in", "sign_in")] if issuer else []))
