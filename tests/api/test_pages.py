"""What a browser is shown: pages that lead on, draw the document and ask no other host, on this machine and on AWS."""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import app
from chalicelib.api import pages
from chalicelib.wiring import opening_into
from tests import api_gateway
from tests.small_deployments import Answer, Deployment, Gateway, front, served

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding": "gzip, br"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with served(front()) as gateway, opening_into(Deployment().rooms()):
        yield gateway


def on_api_gateway(path: str, stage: str, headers: dict[str, str]) -> dict[str, Any]:
    """What API Gateway is given, for a call to the stage."""
    event = api_gateway.event("GET", path, headers=headers, context={"path": f"/{stage}{path}"})
    with opening_into(Deployment().rooms()):
        answer: dict[str, Any] = app(event, None)
    return answer


def links(page: str) -> list[str]:
    return re.findall(r"""(?:href|src)="([^"]*)\"""", page)


def nonces(page: Answer) -> set[str]:
    in_policy = re.findall(r"'nonce-([^']*)'", page.headers["content-security-policy"])
    in_page = re.findall(r"""nonce[=:] ?"([^"]*)\"""", page.body.decode())
    return {*in_policy, *in_page}


def test_a_program_is_told_what_this_is_and_where_to_read_on(gateway: Gateway) -> None:
    told = gateway.call("GET", "/").json
    assert told["name"] == "Cloister"
    for place in ("openapi", "docs", "status", "problems"):
        assert gateway.call("GET", told[place]).status == 200


def test_a_browser_is_shown_a_page_that_leads_on(gateway: Gateway) -> None:
    page = gateway.call("GET", "/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "Accept"
    assert {"/docs", "/openapi.json", "/health", "/status", "/problems"} <= set(links(page.body.decode()))


@pytest.mark.parametrize(
    ("said", "form"),
    [
        ("text/html", "text/html; charset=utf-8"),
        ("application/json, text/html;q=0", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_the_page_is_for_whoever_asks_for_html(gateway: Gateway, said: str, form: str) -> None:
    assert gateway.call("GET", "/", headers={"Accept": said}).headers["content-type"] == form


@pytest.mark.parametrize("path", ["/problems", "/problems/rate-limit-exceeded"])
def test_a_browser_is_shown_what_a_problem_means_and_what_to_do(gateway: Gateway, path: str) -> None:
    page = gateway.call("GET", path, headers=BROWSER)
    told = page.body.decode()
    assert (page.headers["content-type"], page.headers["vary"]) == ("text/html; charset=utf-8", "Accept")
    assert "A rate is exceeded; <code>retry_in_ms</code> is exact." in told
    assert "Wait <code>Retry-After</code>" in told
    assert told.count("<article>") == (1 if path.endswith("exceeded") else len(pages.NEXT_MOVES))
    assert gateway.call("GET", path).headers["vary"] == "Accept"


@pytest.mark.parametrize("path", ["/", "/docs", "/problems", "/problems/not-found"])
def test_a_page_may_run_and_load_nothing_that_is_not_its_own(gateway: Gateway, path: str) -> None:
    page = gateway.call("GET", path, headers=BROWSER)
    policy = dict(each.split(" ", 1) for each in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert not re.search(r"unsafe|https?:|\*", page.headers["content-security-policy"])
    assert not re.search(r"https?://|\bon[a-z]+=|style=", page.body.decode())
    assert page.body.count(b"<script") == page.body.count(b"<script nonce")


@pytest.mark.parametrize("path", ["/", "/docs", "/problems", "/problems/not-found"])
def test_a_nonce_is_for_one_answer(gateway: Gateway, path: str) -> None:
    first, second = (gateway.call("GET", path, headers=BROWSER) for _ in range(2))
    assert len(nonces(first)) == len(nonces(second)) == 1
    assert nonces(first) != nonces(second)
    assert first.headers["cache-control"] == "no-store"


def test_every_link_of_the_pages_leads_somewhere(gateway: Gateway) -> None:
    for path in ("/", "/docs", "/docs/", "/problems", "/problems/", "/problems/not-found"):
        for link in links(gateway.call("GET", path, headers=BROWSER).body.decode()):
            if link != "data:,":
                assert gateway.call("GET", link).status in (200, 503), link  # /health, where nothing is healthy


def test_the_script_comes_packed_to_whoever_takes_that_and_unpacked_to_others(gateway: Gateway) -> None:
    packed = gateway.call("GET", "/docs/redoc.js", headers=BROWSER)
    plain = gateway.call("GET", "/docs/redoc.js")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body


def test_the_script_is_the_one_that_its_page_says_and_asks_no_other_host(gateway: Gateway) -> None:
    script = gateway.call("GET", "/docs/redoc.js").body
    told = (Path(pages.FOLDER) / "README.md").read_text()
    assert hashlib.sha256(script).hexdigest() in told
    assert b"cdn." not in script


@pytest.mark.parametrize(
    ("path", "link"),
    [("/", "/api/openapi.json"), ("/docs", "/api/docs/redoc.js"), ("/problems", "/api/problems/conflict")],
)
def test_links_lead_into_the_stage_where_there_is_one(path: str, link: str) -> None:
    answer = on_api_gateway(path, "api", BROWSER)
    assert answer["statusCode"] == 200
    assert link in links(answer["body"])


def test_the_script_passes_through_api_gateway_as_it_is() -> None:
    answer = on_api_gateway("/docs/redoc.js", "api", BROWSER)
    assert answer["isBase64Encoded"]
    assert gzip.decompress(base64.b64decode(answer["body"])).startswith(b"/*!")
