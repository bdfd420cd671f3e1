"""A value that does not fit is refused in words: which member, which words there are, what a pattern wants."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest
from msgspec import inspect

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.tenancy import PLATFORM_TENANT
from tests.api import signing
from tests.api.test_permissions import TABLE, Caller
from tests.examples import in_turn
from tests.small_deployments import Answer, Deployment, Gateway

ODD = "~ odd"  # of no pattern but those of free text, and no word anywhere
ODD_IN_TEXT = "~ \a"
LISTS = (inspect.ListType, inspect.VarTupleType)


class Spot(NamedTuple):
    """A value that does not fit somewhere in a body, the least that leads there, and what is to be said of it."""

    field: str
    body: Any
    said: tuple[str, ...]


def spots(form: inspect.Type, field: str = "", described: str = "") -> Iterator[Spot]:
    """One for each enumeration, pattern and required member of the type."""
    match form:
        case inspect.UnionType():
            for each in form.types:
                yield from spots(each, field, described)
        case inspect.Metadata():
            yield from spots(form.type, field, (form.extra_json_schema or {}).get("description", ""))
        case inspect.LiteralType():
            yield Spot(field, ODD, ("is not known. It is one of:", *(str(value) for value in form.values)))
            yield Spot(field, 7, ("It is one of:", *(str(value) for value in form.values)))
        case inspect.StrType(pattern=str(pattern)):
            odd = ODD_IN_TEXT if re.search(pattern, ODD) else ODD
            yield Spot(field, odd, (f"has to be {described}." if described else "a description is missing",))
        case inspect.DictType():
            for spot in spots(form.key_type, field):
                yield spot._replace(body={spot.body: "x"})
            for spot in spots(form.value_type, f"{field}[...]"):
                yield spot._replace(body={"x": spot.body})
        case inspect.ListType() | inspect.VarTupleType():
            for spot in spots(form.item_type, f"{field}[0]"):
                yield spot._replace(body=[spot.body])
        case inspect.StructType():
            tag = {form.tag_field: form.tag} if form.tag_field else {}
            if form.tag_field:
                where = f"{field}.{form.tag_field}"
                yield Spot(where, {form.tag_field: ODD}, ("is not known. It is one of:", str(form.tag)))
                yield Spot(where, {}, ("is missing. It is one of:", str(form.tag)))
            required = [member.encode_name for member in form.fields if member.required]
            if required:
                yield Spot(f"{field}.{required[0]}".removeprefix("."), tag, (f"{required[0]} is missing.",))
            for member in form.fields:
                for spot in spots(member.type, f"{field}.{member.encode_name}".removeprefix(".")):
                    yield spot._replace(body={**tag, member.encode_name: spot.body})


def variants(kind: str) -> list[tuple[Route, Spot]]:
    return [
        (route, spot)
        for route in ROUTES
        if getattr(route, kind) is not None
        for spot in spots(inspect.type_info(getattr(route, kind)))
        if kind == "accepts" or 7 not in spot.body.values()  # in a query all is text
    ]


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def key_for(caller: Caller, route: Route) -> str:
    admin = route.permission == "operate"
    return caller.deployment.key(PLATFORM_TENANT if admin else "acme")


def told(answer: Answer, route: Route) -> tuple[str | None, str]:
    """The member that is named, and the text, in the route's shape."""
    body = answer.json
    if route.shape == "problem":
        return body.get("field"), body["detail"]
    if route.shape == "openai":
        return body["error"]["param"], body["error"]["message"]
    if route.shape == "anthropic":
        return body["error"].get("field"), body["error"]["message"]
    return body.get("field"), body["message"]


def must_be_in_words(answer: Answer, route: Route, spot: Spot) -> None:
    assert answer.status == 400, answer.body
    field, text = told(answer, route)
    assert field == spot.field, text
    assert all(words in text for words in spot.said), text
    assert not any(sign in text for sign in ("regex", "^", "Object", "enum")), text


def test_the_tables_are_not_empty() -> None:
    fields = {spot.field for _, spot in (*variants("accepts"), *variants("query"))}
    assert fields >= {"model", "role", "targets[0].engine", "limits.budgets[0].unit", "aliases", "origins[0]", "day"}


@in_turn("route, spot", variants("accepts"))
def test_a_body_that_does_not_fit_is_refused_in_words(caller: Caller, route: Route, spot: Spot) -> None:
    path = caller.path(route.called)
    sent = {"X-Tenant-ID": "acme"}
    if route.auth == "signed":
        caller.deployment.tenancy.principals.put("acme", [signing.OWNER.arn])
        answer = signing.call(
            caller.gateway, route.method, path, msgspec.json.encode(spot.body), {"Content-Type": "application/json"}
        )
    else:
        answer = caller.gateway.call(route.method, path, key=key_for(caller, route), json=spot.body, headers=sent)
    must_be_in_words(answer, route, spot)


@in_turn("route, spot", variants("query"))
def test_a_query_that_does_not_fit_is_refused_in_words(caller: Caller, route: Route, spot: Spot) -> None:
    path = caller.path(route.called).partition("?")[0]
    query = "&".join(f"{name}={quote(value)}" for name, value in spot.body.items())
    answer = caller.gateway.call(route.method, f"{path}?{query}", key=key_for(caller, route))
    must_be_in_words(answer, route, spot)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "x-model-pool is missing."),
        ({"X-Model-Pool": "model-a", "X-Seal-Mode": ODD}, "It is one of: esdk, hpke, kms."),
    ],
)
def test_a_header_that_does_not_fit_is_refused_in_words(caller: Caller, headers: dict[str, str], said: str) -> None:
    sent = {"Content-Type": "application/octet-stream", **headers}
    answer = caller.gateway.call(
        "POST", "/tenants/acme/v1/chat/completions", key=caller.deployment.key(), body=b"x", headers=sent
    )
    assert (answer.status, said in answer.json["error"]["message"]) == (400, True), answer.body


@pytest.mark.parametrize("path", ["PUT /admin/pools/{odd}", "PUT /tenants/acme/members/{odd}"])
def test_a_name_in_a_path_that_does_not_fit_is_refused_in_words(caller: Caller, path: str) -> None:
    method, path = path.format(odd=quote(ODD)).split()
    admin = path.startswith("/admin")
    body = {"name": ODD, "targets": []} if admin else {"role": "owner"}
    answer = caller.gateway.call(
        method, path, key=caller.deployment.key(PLATFORM_TENANT if admin else "acme"), json=body
    )
    assert (answer.status, answer.json["field"]) == (400, "name" if admin else "subject")
    assert "1 to 128 letters, digits or any of" in answer.json["detail"]


@pytest.mark.parametrize(
    "word", ["x" * 10_000, "a - at `$.label`", "it's", "Expected `str` matching regex 'a'", "\u0000\n"]
)
def test_a_word_that_is_long_or_odd_is_told_short_and_of_its_own_member(caller: Caller, word: str) -> None:
    answer = caller.gateway.call("POST", "/tenants/acme/keys", key=caller.deployment.key(), json={"role": word})
    assert (answer.status, answer.json["field"]) == (400, "role")
    assert "It is one of: analyst, developer, owner, viewer." in answer.json["detail"]
    assert len(answer.body) < 500


def test_every_row_has_a_body_that_fits() -> None:
    """So that what is refused above is refused for what is odd in it."""
    assert all(TABLE[route.called].body is not None for route in ROUTES if route.accepts is not None)
