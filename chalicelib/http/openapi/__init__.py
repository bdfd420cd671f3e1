"""The OpenAPI 3.1 document, from the route table and message types that serve the requests.

    schemas      what bodies are, as generators of clients read it
    operations   what each route takes and answers

`examples.json` has, by the name of an operation, a request, and where its schema does not say enough an answer.
"""

import inspect
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

from chalicelib.http import SUMMARY
from chalicelib.http.openapi.operations import HEADERS_OF_ANSWERS, Described
from chalicelib.http.openapi.schemas import schemas_of, used
from chalicelib.http.problems import Shape
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES

DESCRIPTION = """\
Tenants call below `/tenants/{tenant}` with an API key, most by the official SDK of OpenAI, of Anthropic or of AWS and
another base URL; clients that sign for IAM call below `/v1`; the operator of the service calls below `/admin`.

Every answer carries `X-Request-ID`. What is refused says why and what to do next, in the shape that the route's own
clients know. Whoever streams reads server-sent events, or AWS's frames on AWS's own routes; what is refused after the
first byte is the last event. Bodies may come gzipped.
"""

SECURITY_SCHEMES = {
    "ApiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ck_<key id>_<secret>",
        "description": "An API key of a tenant, or a token (JWT) of its members' issuer. Sealed requests need none "
        "where the tenant's `sealing` says `kms`.",
    },
    "ApiKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key under another name; `api-key`, as Azure's SDKs send it, is one more.",
    },
    "SigV4": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4, for the service `execute-api`.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}


def document(mount: str = "") -> dict[str, Any]:
    """The whole document, for who calls below `mount`: the stage, on API Gateway."""
    server = {"url": mount or "/", "description": "Where this document comes from"}
    return {**_head(), "servers": [server], **_routes()}


def _head() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cloister",
            "version": "1",
            "summary": SUMMARY,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
    }


@cache
def _routes() -> dict[str, Any]:
    """What does not depend on where it is served; built once."""
    schema_of, schemas = schemas_of(ROUTES)
    described = Described(schema_of, schemas)
    paths: dict[str, dict[str, Any]] = {}
    for route in _sorted(ROUTES):
        paths.setdefault(route.path, {})[route.method.lower()] = described.operation(route)
    return {
        "tags": [_tag(title) for title in dict.fromkeys(route.title for route in _sorted(ROUTES))],
        "paths": paths,
        "components": {
            "schemas": used(schemas, paths, described.refusals),
            "responses": described.refusals,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS_OF_ANSWERS.items()
            },
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _sorted(routes: Iterable[Route]) -> list[Route]:
    """What runs models first, then what a tenant's people do, then the operator's and the public ones; among those, in
    the order of the shapes.
    """
    shapes = get_args(Shape)
    rank: dict[str, int] = {}
    for route in routes:
        own = 0 if route.infers else {"operate": 2, "public": 3}.get(route.permission, 1)
        rank[route.title] = min(own, rank.get(route.title, own))
    return sorted(routes, key=lambda route: (rank[route.title], shapes.index(route.shape), route.title))


def _tag(title: str) -> dict[str, str]:
    """A title's first module says in its first paragraph what its routes are for, and in the rest how it is made."""
    module = next(route.module for route in ROUTES if route.title == title)
    return {"name": title, "description": inspect.cleandoc(sys.modules[module].__doc__ or "").partition("\n\n")[0]}
