"""Which route serves a path, as API Gateway decides it: whole segments, literal ones before parameters,
those before greedy ones."""

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import unquote

from chalicelib.refusal import MethodNotAllowed, NotFound

T = TypeVar("T")

REMEMBERED = 1_024
"""Paths of which it is known what serves them: callers ask for the same again and again."""

REMEMBERED_LONGEST = 256
"""No stranger's path takes more memory than that."""

LISTED = "GET /openapi.json lists what is served."


class Matcher:
    """The templates of an app (`/tenants/{tenant}/v1/models`), ready to be matched."""

    def __init__(self, templates: Iterable[str], methods: Callable[[str], Collection[str]]) -> None:
        """`methods`: of a template, asked once it is the one."""
        self._methods = methods
        self._templates: dict[int, list[tuple[tuple[str, ...], str]]] = {}
        self._greedy: list[tuple[tuple[str, ...], str]] = []  # whose last parameter, {name+}, holds slashes, too
        for template in templates:
            segments = _segments(template)
            if segments[-1].endswith("+}"):
                self._greedy.append((segments, template))
            else:
                self._templates.setdefault(len(segments), []).append((segments, template))
        self._matched = lru_cache(REMEMBERED)(self._match)
        for alike in self._templates.values():
            alike.sort(key=lambda pair: [segment.startswith("{") for segment in pair[0]])

    def match(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """The template, and the values of its parameters, decoded. Raises NotFound, MethodNotAllowed."""
        match = self._matched if len(path) <= REMEMBERED_LONGEST else self._match
        template, parameters = match(path)
        methods = self._methods(template)
        if method not in methods:
            raise MethodNotAllowed(LISTED, methods)
        return template, dict(parameters)

    def _match(self, path: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Raises NotFound."""
        asked = _segments(path)
        if "" in asked and not self._lacks_a_value(asked):  # a base URL ends in a slash, and its path begins with one
            asked = tuple(filter(None, asked))
        for segments, template in self._templates.get(len(asked), ()):
            if _fits(segments, asked):
                return template, _values(segments, asked)
        for segments, template in self._greedy:
            last = len(segments) - 1
            joined = (*asked[:last], "/".join(asked[last:]))
            if _fits(segments, joined):
                return template, _values(segments, joined)
        raise NotFound(LISTED)

    def _lacks_a_value(self, asked: tuple[str, ...]) -> bool:
        """Whether a segment is empty that would be a parameter's value: no other one may take its place."""
        return any(
            all(want == got or want.startswith("{") for want, got in zip(segments, asked, strict=True))
            for segments, _ in self._templates.get(len(asked), ())
        )


class Prefixes(Generic[T]):
    """What holds below which path: the longest prefix decides."""

    def __init__(self, otherwise: T) -> None:
        self._otherwise = otherwise
        self._known: dict[tuple[str, ...], T] = {}

    def add(self, prefix: str, value: T) -> None:
        """`prefix` may have parameters, as templates have; every path is below `/`."""
        segments = _segments(prefix) if prefix.strip("/") else ()
        if self._known.setdefault(segments, value) != value:
            raise ValueError(f"below {prefix} something else holds already")

    def of(self, path: str) -> T:
        """The value of the longest prefix of the path."""
        asked = _segments(path)
        fitting = [prefix for prefix in self._known if _fits(prefix, asked[: len(prefix)])]
        return self._known[max(fitting, key=len)] if fitting else self._otherwise


def reserved(paths: Iterable[str]) -> frozenset[str]:
    """Words of our own paths that no tenant may have as its name: those that begin one, and those below `/signin`.

    There a tenant's name stands beside them, and by people who read a path it would be taken for one of them anywhere.
    """
    words: set[str] = set()
    for path in paths:
        first, *others = _segments(path)
        words.update((first, *others[:1]) if first == "signin" else (first,))
    return frozenset(word for word in words if not word.startswith("{"))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def _values(template: tuple[str, ...], asked: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Of the template's parameters, decoded."""
    pairs = zip(template, asked, strict=True)
    return tuple((want.strip("{+}"), unquote(got)) for want, got in pairs if want.startswith("{"))


def _fits(template: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    return len(template) == len(asked) and all(
        want == got or (got != "" and want.startswith("{")) for want, got in zip(template, asked, strict=True)
    )
