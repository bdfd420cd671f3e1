"""The OpenAPI 3.1 document, from the route table and message types that serve the requests."""

import re
from functools import cache
from typing import Any

import msgspec

from chalicelib.http import problems
from chalicelib.http.outgoing import INFERENCE_HEADERS
from chalicelib.http.route import FRAMED_TYPE, SEALED_TYPE, Route
from chalicelib.http.surface import ROUTES

SEALED = {SEALED_TYPE: {"schema": {"type": "string", "format": "binary", "minLength": 1}}}
SEAL_HEADERS = ("X-Seal-Mode", "X-Seal-Stream", "X-KMS-Key-ID", "X-Model-Pool", "X-Max-Tokens", "X-Request-ID")

REFERENCES = "#/components/schemas/{name}"

SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "none": [],
    "key": [{"ApiKey": []}, {"ApiKeyHeader": []}],
    "signed_or_key": [{"SigV4": []}, {"ApiKey": []}],
    "signed": [{"SigV4": []}],
}

# What a route may answer besides success, by what it does.
EVERY = (400, 413)
KEYED = (401, 403, 404)
CHANGES = (409,)
STORES = (500, 503)
INFERS = (402, 409, 429, 500, 502, 503, 504)


@cache
def document() -> dict[str, Any]:
    """The whole document; built once."""
    types = {form for route in ROUTES for form in _forms(route)}
    types |= set(problems.SCHEMAS.values())
    ordered = sorted(types, key=repr)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=REFERENCES)
    schema_of = dict(zip(ordered, schemas, strict=True))
    for route in ROUTES:
        if route.closed and route.accepts is not None:
            _close(schema_of[route.accepts], components)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cloister",
            "version": "1",
            "summary": "A private AI endpoint for every tenant on shared GPUs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "ApiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "ck_<key id>_<secret>"},
                "ApiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "SigV4": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "AWS Signature 4"},
            },
        },
    }


def _forms(route: Route) -> list[Any]:
    forms = (route.accepts, route.returns, route.returns_to_anthropic, route.query)
    return [form for form in forms if form is not None]


def _close(schema: Any, components: dict[str, Any]) -> None:
    """Say of an object, and of all that are in it, that it takes no other members."""
    if isinstance(schema, list):
        for each in schema:
            _close(each, components)
    elif isinstance(schema, dict):
        found = _resolved(schema, components)
        if "properties" in found:
            if found.get("additionalProperties") is False:
                return  # it was here already
            found["additionalProperties"] = False
        for each in found.values():
            _close(each, components)


def _operation(route: Route, schema_of: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route, schema_of, components), *_headers(route)],
        "responses": _responses(route, schema_of),
        "security": SECURITY[route.auth],
    }
    if route.accepts is not None:
        operation["requestBody"] = {
            "required": not _optional(route, schema_of, components),
            "content": {"application/json": {"schema": schema_of[route.accepts]}, **(SEALED if route.seals else {})},
        }
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(route: Route, schema_of: dict[Any, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    form = _resolved(schema_of[route.query], components)
    required = form.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in form["properties"].items()
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    of_models = ("Idempotency-Key",) if route.infers else ()
    of_lists = ("anthropic-version",) if route.returns_to_anthropic is not None else ()
    names = dict.fromkeys((*route.headers, *of_lists, *of_models, *(SEAL_HEADERS if route.seals else ())))
    return [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]


def _responses(route: Route, schema_of: dict[Any, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": route.summary}
    if route.returns is not None:
        forms = [form for form in (route.returns, route.returns_to_anthropic) if form is not None]
        success["content"] = {"application/json": {"schema": _any_of([schema_of[form] for form in forms])}}
    if route.streams and route.shape == "bedrock":
        success["content"] = {FRAMED_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    elif route.streams:
        success["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    if route.seals:
        success["content"] |= SEALED
    if route.exports:
        success["content"]["text/csv"] = {"schema": {"type": "string"}}
    names = {"X-Request-ID": "the request's id"} | (INFERENCE_HEADERS if route.infers else {})
    success["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in names.items()}
    shapes: list[problems.Shape] = [route.shape]
    if route.returns_to_anthropic is not None:
        shapes.append("anthropic")
    refusal = {
        "description": "Refused",
        "content": {
            "application/problem+json" if route.shape == "problem" else "application/json": {
                "schema": _any_of([schema_of[problems.SCHEMAS[shape]] for shape in shapes])
            }
        },
    }
    responses = {str(status): refusal for status in sorted(_refusals(route))}
    if route.own_statuses:
        responses |= {str(status): {**success, "description": text} for status, text in route.own_statuses.items()}
    return {str(route.status): success, **responses}


def _refusals(route: Route) -> set[int]:
    found = {*EVERY, *STORES}
    if route.auth != "none":
        found.update(KEYED)
    if "{" in route.path:
        found.add(404)
    if route.method != "GET":
        found.update(CHANGES)
    if route.infers:
        found.update(INFERS)
    if route.shape == "anthropic":
        found = found - {503} | {529}
    if route.returns_to_anthropic is not None:
        found.add(529)
    if route.shape == "bedrock":
        found = found - {402}
    return found


def _any_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _optional(route: Route, schema_of: dict[Any, Any], components: dict[str, Any]) -> bool:
    """A body of which every member has a default may be left out altogether."""
    return route.accepts is not None and not _resolved(schema_of[route.accepts], components).get("required")


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    found: dict[str, Any] = components[reference.rsplit("/", 1)[1]] if reference else schema
    return found
