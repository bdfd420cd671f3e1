"""What a tenant lets its callers use at all, whatever their keys and roles: its surfaces, pools and routes.

The surface `management` is none of them: who may change this can always come to change it back.
"""

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec

from chalicelib.refusal import Malformed
from chalicelib.tenancy.tenant import PoolName, RouteGlobs, SurfaceName

MANAGEMENT: SurfaceName = "management"

Pools = Annotated[tuple[PoolName, ...], msgspec.Meta(max_length=100)]


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whoever runs models, or looks at them. Empty: all that the tenant has."""

    surfaces: tuple[Literal["openai", "anthropic", "native", "bedrock"], ...] = ()
    pools: Pools = ()
    routes: RouteGlobs = ()

    def opens(self, surface: SurfaceName) -> bool:
        return not self.surfaces or surface in self.surfaces or surface == MANAGEMENT

    def leads(self, route: str, surface: SurfaceName) -> bool:
        """Whether to this route, which is the surface's."""
        return not self.routes or surface == MANAGEMENT or covers_route(self.routes, route)

    def offers(self, pool: PoolName) -> bool:
        return not self.pools or pool in self.pools


def covers_route(globs: tuple[str, ...], route: str) -> bool:
    from guard.globs import covers  # only who is narrowed to routes

    return covers(globs, route)


def must_be_routes(globs: Collection[str], known: Collection[str], field: str) -> None:
    """Raises Malformed unless each of the globs is of one route at least, of those that are known."""
    for index, glob in enumerate(globs):
        if not any(covers_route((glob,), route) for route in known):
            raise Malformed(
                f"No route is called {glob[:80]!r} here. Write it as docs/api.md lists it, with its method, as "
                "`POST /tenants/{tenant}/v1/chat/completions`; or a glob, as `* /tenants/{tenant}/v1/*`.",
                field=f"{field}[{index}]",
            )
