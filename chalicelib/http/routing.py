"""Which route serves a path, as API Gateway decides it: whole segments, literal ones before parameters."""

from collections.abc import Mapping
from urllib.parse import unquote


class NoSuchRoute(Exception):
    """Nothing is served under this method and path."""

    def __init__(self, status: int, title: str, allowed: frozenset[str] = frozenset()) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.allowed = allowed


class Matcher:
    """The templates of an app (`/tenants/{tenant}/v1/models`), ready to be matched."""

    def __init__(self, routes: Mapping[str, frozenset[str]]) -> None:
        self._routes = routes
        self._templates: dict[int, list[tuple[tuple[str, ...], str]]] = {}
        for template in routes:
            segments = tuple(template.strip("/").split("/"))
            self._templates.setdefault(len(segments), []).append((segments, template))
        for templates in self._templates.values():
            templates.sort(key=lambda pair: [segment.startswith("{") for segment in pair[0]])

    def match(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """The template, and the values of its parameters, decoded. Raises NoSuchRoute."""
        asked = path.strip("/").split("/")
        for segments, template in self._templates.get(len(asked), ()):
            if all(want == got or (got and want.startswith("{")) for want, got in zip(segments, asked, strict=True)):
                if method not in self._routes[template]:
                    raise NoSuchRoute(405, "Method not allowed", self._routes[template])
                return template, {
                    want[1:-1]: unquote(got) for want, got in zip(segments, asked, strict=True) if want.startswith("{")
                }
        raise NoSuchRoute(404, "Not found")
