"""The route table. It is whole for whoever lists it; a request finds its own route in it and opens no other.

Which module serves a path is known from the start. The module is imported when the first request for one of its paths
comes, or when somebody wants to see every route: so a process pays for the surfaces that its callers use.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import import_module
from threading import RLock
from types import MappingProxyType
from typing import TYPE_CHECKING

from chalicelib.http.route import Route

if TYPE_CHECKING:
    from chalicelib.http.surface import Surface

_NONE: Mapping[str, Route] = MappingProxyType({})


class RouteTable(Iterable[Route]):
    """Of one app. Safe for many threads: who needs a module that is being imported waits until it serves."""

    def __init__(self) -> None:
        self._paths_of: dict[str, frozenset[str]] = {}  # by module
        self._closed: dict[str, str] = {}  # the module of each path that is not open yet
        self._serve: Callable[[Surface], None] = lambda _: None
        self._surfaces: dict[str, list[Surface]] = {}  # by module
        self._listed: list[Route] = []
        self._at: dict[str, dict[str, Route]] = {}  # by path, then by method
        self._lock = RLock()

    def serve(self, modules: Mapping[str, Collection[str]], serve: Callable[["Surface"], None]) -> None:
        """Let each module be imported when one of its paths (as API Gateway writes them) is opened, and its surfaces be
        served then."""
        self._paths_of = {module: frozenset(paths) for module, paths in modules.items()}
        self._closed = {path: module for module, paths in modules.items() for path in paths}
        self._serve = serve

    @property
    def paths(self) -> Collection[str]:
        """Of all that is served, open or not."""
        return [path for paths in self._paths_of.values() for path in paths]

    def declare(self, module: str, surface: "Surface") -> None:
        self._surfaces.setdefault(module, []).append(surface)

    def add(self, route: Route) -> None:
        self._listed.append(route)
        methods = self._at.setdefault(route.resource, {})
        for method in route.methods:
            methods[method] = route

    def open(self, path: str) -> None:
        """What serves the path is there when this returns."""
        module = self._closed.get(path)
        if module is not None:
            self._open(module)

    def at(self, path: str) -> Mapping[str, Route]:
        """The routes of a path that is open, by method."""
        return self._at.get(path, _NONE)

    def __iter__(self) -> Iterator[Route]:
        """Every route: opens all. In the order of the modules; those of one as they stand in it."""
        for module in self._paths_of:
            self._open(module)
        places = {module: place for place, module in enumerate(self._paths_of)}
        return iter(sorted(self._listed, key=lambda route: places.get(route.module, len(places))))

    def _open(self, module: str) -> None:
        with self._lock:
            closed = {path for path, of in self._closed.items() if of == module}
            if not closed:
                return
            import_module(module)
            served = {route.resource for route in self._listed if route.module == module}
            if served != self._paths_of[module]:
                differing = ", ".join(sorted(served ^ self._paths_of[module]))
                raise RuntimeError(f"{module} does not serve what is listed of it in api/surfaces.py: {differing}")
            for surface in self._surfaces[module]:
                self._serve(surface)
            # Last: from now on nobody waits for it. Another dict, since others read this one without a lock.
            self._closed = {path: of for path, of in self._closed.items() if of != module}


ROUTES = RouteTable()
