"""Signing in by the browser of this machine, which comes back to a port of it (RFC 8252, with PKCE: RFC 7636)."""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cloister.refusal import SealError

PORTS = (8976, 18976, 28976)
"""Of which one is free. An issuer as Cognito sends browsers only to addresses that it has been told, port and all."""
PATIENCE_S = 300
_PAGE = b"<!doctype html><title>Cloister</title><p>%s You may close this page.</p>"


class NotSignedIn(SealError):
    """Nobody came back from the issuer's page, or not with a code."""


def code_by_browser(
    authorization_endpoint: str, client_id: str, open_page: Callable[[str], object], patience_s: float = PATIENCE_S
) -> dict[str, str]:
    """What the issuer exchanges for tokens: the code, and the proof that it was for us. Raises: NotSignedIn."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with _listening() as server:
        # Not 127.0.0.1: Cognito takes plain HTTP for this name alone. Who else listens on it has no verifier.
        back = f"http://localhost:{server.server_port}/"
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": back,
            "scope": "openid email",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = f"{authorization_endpoint}{'&' if '?' in authorization_endpoint else '?'}{urlencode(asked)}"
        # Aside: some browsers are a program that ends when its page is closed, and we are to answer it.
        threading.Thread(target=open_page, args=(where,), daemon=True).start()
        told = server.answered(state, patience_s)
    if "code" not in told:
        raise NotSignedIn(f"The issuer let nobody in: {told.get('error', 'it gave no code')}.")
    proof = {"grant_type": "authorization_code", "client_id": client_id, "redirect_uri": back}
    return {**proof, "code": told["code"], "code_verifier": verifier}


class _Server(HTTPServer):
    """Waits for one browser that comes back with our `state`, and tells any other nothing."""

    allow_reuse_address = True

    def answered(self, state: str, patience_s: float) -> dict[str, str]:
        self.state, self.told, self.timeout = state, dict[str, str](), patience_s
        self.gave_up = False
        while not self.told:
            self.handle_request()
            if self.gave_up:
                raise NotSignedIn("Nobody came back from the sign-in page. Try again: cloister login.")
        return self.told

    def handle_timeout(self) -> None:
        self.gave_up = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # for a request to arrive

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        told = {name: values[0] for name, values in parse_qs(where.query).items()}
        ours = where.path == "/" and hmac.compare_digest(told.get("state", "").encode(), self.server.state.encode())
        if ours:
            self.server.told = told
        said = b"You are signed in." if "code" in told else b"You are not signed in."
        self.send_response(200 if ours else 404)
        for name, value in (("Content-Type", "text/html"), ("Referrer-Policy", "no-referrer"), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(_PAGE % said if ours else b"")

    def log_message(self, *_: Any) -> None:
        """Nothing: the path has the code."""


def _listening() -> _Server:
    for port in PORTS:
        try:
            return _Server(("127.0.0.1", port), _Handler)
        except OSError:
            continue
    raise NotSignedIn(f"The ports {', '.join(map(str, PORTS))} of this machine are taken. Free one of them.")
