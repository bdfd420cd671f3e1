"""The problems that there are: each has a name of its own, a page, and a place in the list."""

import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib.api import pages
from chalicelib.http import problems
from chalicelib.http.problems import FAULT, KINDS, Kind
from chalicelib.refusal import Refusal
from tests.small_deployments import Deployment, Gateway


def _all(kind: type[Refusal]) -> set[type[Refusal]]:
    return {kind, *(each for below in kind.__subclasses__() for each in _all(below))}


def test_every_refusal_has_its_kind_and_its_exception() -> None:
    assert set(KINDS) == set(problems.EXCEPTIONS) == _all(Refusal) - {Refusal}


def test_no_two_problems_share_a_name() -> None:
    names = [kind.name for kind in (*KINDS.values(), FAULT)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", [*KINDS.values(), FAULT], ids=lambda kind: kind.name)
def test_a_problem_is_listed_and_has_a_page_that_says_the_same(
    gateway: Gateway, deployment: Deployment, kind: Kind
) -> None:
    page = gateway.call("GET", f"/problems/{kind.name}")
    listed = gateway.call("GET", "/problems")
    assert (page.status, listed.status) == (200, 200)
    assert page.json in listed.json["problems"]
    assert page.json["type"] == f"/problems/{kind.name}"
    assert (page.json["status"], page.json["title"]) == (kind.status, kind.title)
    assert page.json["meaning"]
    assert page.json["next_move"] == pages.NEXT_MOVES[kind.name]
    assert page.json["openai"] == {"status": kind.openai_status or kind.status, "name": kind.openai_code}
    assert page.json["anthropic"] == {"status": kind.anthropic_status or kind.status, "name": kind.anthropic_type}


def test_nothing_else_is_listed(gateway: Gateway, deployment: Deployment) -> None:
    assert len(gateway.call("GET", "/problems").json["problems"]) == len(KINDS) + 1
    lost = gateway.call("GET", "/problems/bad-luck")
    assert (lost.status, "GET /problems lists" in lost.json["detail"]) == (404, True)


def test_the_type_of_a_problem_leads_to_its_page(gateway: Gateway, deployment: Deployment) -> None:
    problem = gateway.call("GET", "/tenants/acme/keys").json
    page = gateway.call("GET", problem["type"]).json
    assert (page["type"], page["title"], page["status"]) == (problem["type"], problem["title"], problem["status"])
