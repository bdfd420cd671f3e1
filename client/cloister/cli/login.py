"""`cloister login` and `cloister logout`: a person at a terminal, who then needs no key."""

import argparse
import base64
import getpass
import json
import os
import sys
import webbrowser
from typing import Any
from urllib.parse import urlsplit

import httpx

from cloister.cli.gateway import TIMEOUT_S, GatewayRefused, ask
from cloister.cli.loopback import code_by_browser
from cloister.cli.settings import Settings, base_url
from cloister.cli.signed_in import SignedIn, SignIns, given
from cloister.refusal import NotConfigured

_WELL_KNOWN = "/.well-known/openid-configuration"


def login(settings: Settings, options: argparse.Namespace) -> int:
    """Raises: SealError."""
    gateway = base_url(settings.must("base_url"))
    with httpx.Client(timeout=TIMEOUT_S) as http:
        signed_in = _by_password(http, gateway) if options.password else _by_browser(http, gateway)
        SignIns(os.environ).keep(gateway, signed_in)
        print(f"You are signed in at {gateway}.")
        if settings.tenant and not _joined(http, gateway, settings.tenant, signed_in.access_token):
            print(
                f"You are no member of {settings.tenant} so far. If you were invited by your mail address, open "
                f"{gateway}/signin/{settings.tenant} once in this browser."
            )
    return 0


def logout(settings: Settings, options: argparse.Namespace) -> int:  # noqa: ARG001
    """The refresh token is revoked where it came from, and both tokens are deleted here. Raises: SealError."""
    gateway, kept = base_url(settings.must("base_url")), SignIns(os.environ)
    held = kept.held(gateway)
    if held is None:
        print(f"Nobody is signed in at {gateway}.")
        return 0
    kept.forget(gateway)
    if held.revocation_endpoint:
        form = {"token": held.refresh_token, "client_id": held.client_id}
        with httpx.Client(timeout=TIMEOUT_S) as http:
            ask(http, "POST", held.revocation_endpoint, data=form)
    print(f"You are signed out of {gateway}.")
    return 0


def _by_browser(http: httpx.Client, gateway: str) -> SignedIn:
    told = ask(http, "GET", f"{gateway}/signin/terminal").json()
    issuer = _discovered(http, told["issuer"])
    where = SignedIn("", "", 0, issuer["token_endpoint"], issuer.get("revocation_endpoint", ""), told["client_id"])
    proof = code_by_browser(issuer["authorization_endpoint"], told["client_id"], _shown)
    return given(ask(http, "POST", where.token_endpoint, data=proof).json(), where)


def _by_password(http: httpx.Client, gateway: str) -> SignedIn:
    mail = os.environ.get("CLOISTER_PERSON_EMAIL") or input("Mail address: ")
    password = os.environ.get("CLOISTER_PERSON_PASSWORD") or getpass.getpass("Password: ")
    answer = ask(http, "POST", f"{gateway}/signin/token", json={"email": mail, "password": password}).json()
    said = _claims(answer["access_token"])
    revoking = _discovered(http, said["iss"]).get("revocation_endpoint", "")
    return given(answer, SignedIn("", "", 0, revocation_endpoint=revoking, client_id=said["client_id"]))


def _claims(token: str) -> dict[str, Any]:
    """Of a token that has just come from the gateway, which has verified it."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _shown(url: str) -> None:
    print(f"Sign in here, in a browser of this machine:\n\n  {url}\n", file=sys.stderr, flush=True)
    webbrowser.open(url)


def _joined(http: httpx.Client, gateway: str, tenant: str, token: str) -> bool:
    """Whether they belong there; whoever was invited by their subject does from now on."""
    answer = ask(http, "POST", f"{gateway}/signin/{tenant}/join", json={"token": token}, also=(404,))
    return answer.is_success


def _discovered(http: httpx.Client, issuer: str) -> dict[str, Any]:
    """Where the issuer has what we need. Raises: GatewayRefused, NotConfigured."""
    found: dict[str, Any] = ask(http, "GET", issuer.rstrip("/") + _WELL_KNOWN).json()
    if found.get("issuer") != issuer:
        raise GatewayRefused(f"The issuer {issuer} says that it is another one.")
    for name in ("authorization_endpoint", "token_endpoint", "revocation_endpoint"):
        where = urlsplit(found.get(name) or "https:")
        if where.scheme != "https" and where.hostname not in ("127.0.0.1", "localhost"):
            raise NotConfigured(f"The issuer's {name} is not https.")
    return found
