"""What each route takes and answers, as OpenAPI says it."""

import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from chalicelib.http import problems
from chalicelib.http.asks import CLASSIFICATIONS
from chalicelib.http.openapi.schemas import resolved
from chalicelib.http.outgoing import INFERENCE_HEADERS
from chalicelib.http.problems import Shape
from chalicelib.http.route import FRAMED_TYPE, OF_SIGN_IN, SEALED_TYPE, Auth, ForNarrowed, Route

SECURITY: Mapping[Auth, list[dict[str, list[str]]]] = {
    "none": [],
    "key": [{"ApiKey": []}, {"ApiKeyHeader": []}],
    "signed_or_key": [{"SigV4": []}, {"ApiKey": []}],
    "signed": [{"SigV4": []}],
}

# What a route may answer besides success, by what it does.
EVERY = (400, 413)
TAKES = (408,)
KEYED = (401, 403, 404)
CHANGES = (409,)
STORES = (500, 503)
INFERS = (402, 409, 429, 500, 502, 503, 504)
LATER = (429, 503, 529)
"""Those that say when to come back."""

HEADERS_OF_ANSWERS = {
    "X-Request-ID": "the request's id",
    "X-Trace-Id": "the trace that it belongs to",
    **INFERENCE_HEADERS,
    "Retry-After": "when to come back, in seconds",
}

SEALS = ("X-Seal-Mode", "X-Seal-Stream", "X-KMS-Key-ID", "X-Model-Pool", "X-Max-Tokens", "X-Request-ID")

HEADERS = {
    "Idempotency-Key": "Makes a repeated request a clear 409, never a second charge.",
    "X-Request-ID": (
        "The request's id, if you like to name it: 1 to 64 letters, digits or `._:-`. Of what is sealed in mode `esdk` "
        "or `hpke`: the one inside the seal."
    ),
    "X-Tenant-ID": "The tenant, where the credential does not say it: of sealed requests.",
    "X-Model-Pool": "The pool, by its name or an alias; of sealed requests always.",
    "X-Data-Classification": "Goes into the audit log.",
    "X-Seal-Mode": "Of sealed requests: `kms`, `esdk` or `hpke`; `kms` where it is left out.",
    "X-Seal-Stream": "Of sealed requests: `true` where they ask for a stream.",
    "X-KMS-Key-ID": "Of sealed requests: the full ARN of a registered key; left out, the tenant's only one.",
    "X-Max-Tokens": "Of sealed requests: the ceiling to reserve, which binds the answer.",
    "anthropic-version": "Sent by Anthropic's SDKs: the answer has Anthropic's shape.",
}
"""Of requests. Those of sealed ones mean nothing to others: a request in the clear is not refused for them."""

WORDS: Mapping[str, tuple[str, ...]] = {"X-Data-Classification": CLASSIFICATIONS}
"""The headers that take these and nothing else."""

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "tenant": ("The tenant's id.", "acme"),
    "model": ("A model, by a name or an id that it is known by.", "demo"),
    "pool": ("The pool's own name.", "demo"),
    "response": ("The `id` of a Response that was kept.", "resp_5f2c"),
    "key": ("The id of an API key; of a KMS key, the last part of its ARN.", "k3y9"),
    "job": ("The `job` of an erasure.", "5f2c9a0e"),
    "session": ("The id of a session.", "acme.k3y9abcd"),
    "subject": ("Who the member is, as the identity provider says it.", "kim@example.com"),
    "review": ("The `id` of a review, within its tenant.", "addresses-60"),
    "step": ("`note`, `throttle`, `suspend` or `clear`.", "note"),
    "incident": ("The `id` of an incident.", "1795000000000-5f2c"),
    "window": ("The `id` of a window of maintenance.", "1795000000000-5f2c"),
    "link": ("What a link of a mail ends with.", "leave.5f2c.77aa"),
    "name": ("The last part of a problem's `type`.", "rate-limited"),
}
"""Of paths: what each is, and one of them."""

STREAM = "Server-sent events: pieces of the answer as they come. A refusal after the first is the last event."
FRAMES = (
    "Frames of AWS's event stream, as AWS's SDKs read them: pieces of the answer as they come. A refusal after the "
    "first is the last frame, an exception."
)
SEALED_REQUEST = "A sealed request: ciphertext, of which the headers `X-Seal-...` and `X-Model-Pool` say what it needs."
SEALED_ANSWER = "The sealed answer to a sealed request."
NARROWED: Mapping[ForNarrowed, str] = {
    "within": "",
    "covering": "A key that is narrowed, or expires, may do this with keys that can do no more than it, and no longer.",
    "closed": "Not for keys that are narrowed or expire.",
}
GREEDY = "It may hold slashes, as they are or as `%2F`."

NAMES: Mapping[Shape, str] = {
    "problem": "Problem",
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "bedrock": "Bedrock",
}


class Described:
    """Routes described one after another, and on the way the refusals that they share."""

    def __init__(self, schema_of: Mapping[Any, Any], components: Mapping[str, Any]) -> None:
        self._schema_of = schema_of
        self._components = components
        self.refusals: dict[str, Any] = {}  # by their names among the components

    def operation(self, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": route.name,
            "summary": route.summary,
            "description": "\n\n".join(filter(None, (_described(route), NARROWED[route.for_narrowed]))),
            "tags": [route.title],
            "parameters": [*_path_parameters(route), *self._query_parameters(route), *_headers(route)],
            "responses": self._responses(route),
            "security": SECURITY[route.auth],
        }
        if route.accepts is not None:
            operation["requestBody"] = self._body(route)
        return operation

    def _body(self, route: Route) -> dict[str, Any]:
        schema = self._schema_of[route.accepts]
        content: dict[str, Any] = {"application/json": {"schema": schema}}
        if request := examples().get(route.name, {}).get("request"):
            content["application/json"]["example"] = request
        if route.seals:
            content[SEALED_TYPE] = _binary(SEALED_REQUEST, minLength=1)
        # A body of which every member has a default may be left out altogether.
        return {"required": bool(resolved(schema, self._components).get("required")), "content": content}

    def _query_parameters(self, route: Route) -> list[dict[str, Any]]:
        if route.query is None:
            return []
        form = resolved(self._schema_of[route.query], self._components)
        required = form.get("required", ())
        return [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in form["properties"].items()
        ]

    def _responses(self, route: Route) -> dict[str, Any]:
        success: dict[str, Any] = {"description": f"{route.summary}.", "headers": _answer_headers(route)}
        if content := self._content(route):
            success["content"] = content
        refused = {str(status): self._refusal(route, status) for status in sorted(_refusals(route))}
        own = {str(status): {**success, "description": text} for status, text in route.own_statuses.items()}
        return {str(route.status): success, **refused, **own}

    def _content(self, route: Route) -> dict[str, Any]:
        content: dict[str, Any] = {}
        if route.returns is not None:
            forms = [form for form in (route.returns, route.returns_to_anthropic) if form is not None]
            content["application/json"] = {"schema": _any_of([self._schema_of[form] for form in forms])}
            if answer := examples().get(route.name, {}).get("answer"):
                content["application/json"]["example"] = answer
        if route.streams and route.shape == "bedrock":
            content[FRAMED_TYPE] = _binary(FRAMES)
        elif route.streams:
            content["text/event-stream"] = {"schema": {"type": "string", "description": STREAM}}
        if route.seals:
            content[SEALED_TYPE] = _binary(SEALED_ANSWER, minLength=1)
        if route.exports:
            content["text/csv"] = {"schema": {"type": "string", "description": "With `format=csv`."}}
        for form, text in route.other_forms.items():
            content[form] = {"schema": {"type": "string", "description": f"{text}."}}
        return content

    def _refusal(self, route: Route, status: int) -> dict[str, str]:
        """A reference: routes of one shape are refused alike."""
        shapes: list[Shape] = [route.shape]
        if route.returns_to_anthropic is not None:
            shapes.append("anthropic")
        name = f"{'Or'.join(NAMES[shape] for shape in shapes)}{status}"
        if name not in self.refusals:
            forms = [self._schema_of[problems.SCHEMAS[shape]] for shape in shapes]
            told = ("X-Request-ID", "X-Trace-Id", *(["Retry-After"] if status in LATER else []))
            self.refusals[name] = {
                "description": _meaning(status, shapes),
                "headers": {each: _header(each) for each in told},
                "content": {
                    "application/problem+json" if route.shape == "problem" else "application/json": {
                        "schema": _any_of(forms)
                    }
                },
            }
        return {"$ref": f"#/components/responses/{name}"}


@cache
def examples() -> dict[str, dict[str, Any]]:
    """By the names of operations."""
    found: dict[str, dict[str, Any]] = msgspec.json.decode(Path(__file__).with_name("examples.json").read_bytes())
    return found


def _described(route: Route) -> str:
    return inspect.cleandoc(route.description) or f"{route.summary}."


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [_path_parameter(name, greedy=bool(plus)) for name, plus in re.findall(r"{(\w+)(\+?)}", route.resource)]


def _path_parameter(name: str, *, greedy: bool) -> dict[str, Any]:
    text, example = PARAMETERS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"{text} {GREEDY}" if greedy else text,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }


def _headers(route: Route) -> list[dict[str, Any]]:
    of_models = ("Idempotency-Key",) if route.infers else ()
    of_lists = ("anthropic-version",) if route.returns_to_anthropic is not None else ()
    names = dict.fromkeys((*route.headers, *of_lists, *of_models, *(SEALS if route.seals else ())))
    return [_request_header(name) for name in names]


def _request_header(name: str) -> dict[str, Any]:
    schema = {"type": "string", **({"enum": WORDS[name]} if name in WORDS else {})}
    return {"name": name, "in": "header", "description": HEADERS[name], "schema": schema}


def _answer_headers(route: Route) -> dict[str, Any]:
    told = ("X-Request-ID", "X-Trace-Id", *(INFERENCE_HEADERS if route.infers else ()))
    return {name: _header(name) for name in told}


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _binary(text: str, **bounds: int) -> dict[str, Any]:
    return {"schema": {"type": "string", "format": "binary", "description": text, **bounds}}


def _meaning(status: int, shapes: list[Shape]) -> str:
    """The titles of what is refused with this status."""
    # Of an error, only its class decides.
    kinds = [(refusal.__new__(refusal), kind) for refusal, kind in problems.KINDS.items()]
    told = [*kinds, (Exception(), problems.FAULT)]
    titles = [kind.title for error, kind in told if status in {problems.status_of(error, shape) for shape in shapes}]
    return "; ".join(dict.fromkeys(titles)) + "."


def _refusals(route: Route) -> set[int]:
    found = {*EVERY, *STORES}
    if route.auth != "none":
        found.update(KEYED)
    if route.path.startswith(OF_SIGN_IN):
        found.update(KEYED)
    if "{" in route.path:
        found.add(404)
    if route.method != "GET":
        found.update(CHANGES)
    if route.accepts is not None:
        found.update(TAKES)
    if route.infers:
        found.update(INFERS)
    if route.shape == "openai":
        found = found - {402}
    if route.shape == "anthropic":
        found = found - {503} | {529}
    if route.returns_to_anthropic is not None:
        found.add(529)
    if route.shape == "bedrock":
        found = found - {402}
    return found


def _any_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
