"""A browser, as far as signing in goes: it keeps cookies by their rules, and goes where it is sent when it is told."""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx

from chalicelib.http.own_pages import COOKIE, SIGN_IN
from tests.emulators.cognito.served import MAIL, PASSWORD, UserPool, came_back, fill
from tests.patience import PATIENCE_S
from tests.small_deployments import Gateway

PUBLIC_URL = "http://127.0.0.1:8000"
FROM_OUR_PAGE = {"Origin": PUBLIC_URL, "X-Cloister-Page": "1"}
HTML = {"Accept": "text/html"}


class Browser:
    def __init__(self, gateway: Gateway) -> None:
        self._base_url = gateway.base_url
        self.cookies: dict[str, str] = {}
        self.seen: list[httpx.Response] = []
        """All that a page or its scripts might find."""

    def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, json: object = None
    ) -> httpx.Response:
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**({"Cookie": jar} if jar else {}), **(headers or {})}
        answer = httpx.request(method, f"{self._base_url}{path}", headers=sent, json=json, timeout=PATIENCE_S)
        for each in answer.headers.get_list("set-cookie"):
            self._take(each)
        self.seen.append(answer)
        return answer

    def page_calls(self, method: str, path: str, json: object = None) -> httpx.Response:
        """As a script of our own page does."""
        return self.call(method, path, FROM_OUR_PAGE, json)

    def begin(self, tenant: str = "acme") -> str:
        """Where it is sent to sign in."""
        answer = self.call("GET", f"/signin/{tenant}", HTML)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def come_back(self, back: Mapping[str, str]) -> httpx.Response:
        return self.call("GET", f"/signin/callback?{urlencode(back)}", HTML)

    def sign_in(self, pool: UserPool, tenant: str = "acme") -> httpx.Response:
        return self.come_back(at_the_page(pool, self.begin(tenant)))

    def session(self, tenant: str = "acme") -> str | None:
        return self.cookies.get(f"{COOKIE}{tenant}")

    def _take(self, said: str) -> None:
        pair, *attributes = said.split("; ")
        name, _, value = pair.partition("=")
        named = {each.partition("=")[0]: each.partition("=")[2] for each in attributes}
        same_site = "Lax" if name == SIGN_IN else "Strict"
        assert name.startswith("__Host-")
        assert {"Secure", "HttpOnly", "Max-Age", "Path", "SameSite"} == set(named), said
        assert (named["Path"], named["SameSite"]) == ("/", same_site)
        if int(named["Max-Age"]) == 0:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def at_the_page(pool: UserPool, where: str, mail: str = MAIL, password: str = PASSWORD) -> dict[str, str]:
    """What whoever signs in there is sent back with."""
    with pool.served.browser() as browser:
        page = browser.get(where, follow_redirects=True)
        return came_back(fill(browser, page, username=mail, password=password))


def goes_on_to(page: httpx.Response) -> str | None:
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', page.text)
    return found[1] if found else None
