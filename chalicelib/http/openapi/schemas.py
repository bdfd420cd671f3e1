"""The schemas of bodies: msgspec's own, told so that every generator understands them."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from chalicelib.http import problems
from chalicelib.http.route import Route

BEFORE_NAMES = "#/components/schemas/"


def schemas_of(routes: Iterable[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of each type that a route takes or gives, and the components that they refer to, by their names."""
    routes = list(routes)
    types = {form for route in routes for form in _forms(route)} | set(problems.SCHEMAS.values())
    ordered = sorted(types, key=repr)
    found, components = msgspec.json.schema_components(ordered, ref_template=BEFORE_NAMES + "{name}")
    schema_of = dict(zip(ordered, found, strict=True))
    for route in routes:
        if route.accepts is not None:
            _say_of_others(schema_of[route.accepts], components, not route.closed)
        if route.infers and route.returns is not None:
            _say_of_others(schema_of[route.returns], components, True)
    return {form: _plain(schema) for form, schema in schema_of.items()}, _plain(components)


def resolved(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """What a reference refers to; anything else is itself."""
    reference = schema.get("$ref")
    found: dict[str, Any] = components[reference.removeprefix(BEFORE_NAMES)] if reference else dict(schema)
    return found


def used(components: Mapping[str, Any], *places: Any) -> dict[str, Any]:
    """The components that the places refer to, and those that these do. Queries are told as parameters."""
    found: set[str] = set()
    waiting = [*places]
    while waiting:
        for name in set(_named(waiting.pop())) - found:
            found.add(name)
            waiting.append(components[name])
    return {name: components[name] for name in sorted(found)}


def _forms(route: Route) -> list[Any]:
    forms = (route.accepts, route.returns, route.returns_to_anthropic, route.query)
    return [form for form in forms if form is not None]


def _say_of_others(schema: Any, components: dict[str, Any], allowed: bool) -> None:
    """Say of an object, and of all that are in it, whether it may have members that are not listed."""
    if isinstance(schema, list):
        for each in schema:
            _say_of_others(each, components, allowed)
    elif isinstance(schema, dict):
        found = components[schema["$ref"].removeprefix(BEFORE_NAMES)] if "$ref" in schema else schema
        if "properties" in found:
            if "additionalProperties" in found:
                return  # it was here already, or the type itself says it
            found["additionalProperties"] = allowed
        for each in found.values():
            _say_of_others(each, components, allowed)


def _plain(schema: Any) -> Any:
    """The same, as generators like it: one value is `const`, words have a type, and no default is null.

    A client that was generated would send what a default says; an engine may mind a null where it minds nothing.
    """
    if isinstance(schema, list | tuple):
        return [_plain(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    told = {name: _plain(each) for name, each in schema.items() if (name, each) != ("default", None)}
    if isinstance(told.get("enum"), list):
        words = told.pop("enum")
        kind = {str: "string", bool: "boolean", int: "integer"}[type(words[0])]
        told = {"type": kind, **({"const": words[0]} if len(words) == 1 else {"enum": words}), **told}
    if isinstance(told.get("description"), str):
        told["description"] = inspect.cleandoc(told["description"])
    return told


def _named(place: Any) -> Iterator[str]:
    """Of the components, those that it refers to, also as a discriminator does."""
    if isinstance(place, Mapping):
        place = list(place.values())
    if isinstance(place, list):
        for each in place:
            yield from _named(each)
    elif isinstance(place, str) and place.startswith(BEFORE_NAMES):
        yield place.removeprefix(BEFORE_NAMES)
