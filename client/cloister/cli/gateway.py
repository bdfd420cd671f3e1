"""The gateway's routes for keys and attestation, as the commands need them."""

import base64
from collections.abc import Container
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from cloister.exchange import attestation_query, code, why
from cloister.refusal import SealError

if TYPE_CHECKING:
    from cloister.cli.settings import Settings

TIMEOUT_S = 60.0

_ADVICE = {
    "invalid_api_key": " The key is CLOISTER_API_KEY or --api-key. Or sign in: cloister login.",
    "key_validation_failed": " Check the key's ARN, and that its policy lets the enclave in, as `cloister policy ARN` "
    "prints one.",
}


class GatewayRefused(SealError):
    """The gateway said no, or is not there."""


def refused(response: httpx.Response) -> GatewayRefused:
    """The gateway's own sentence, and what to do about it here."""
    signs_in = "/signin/" in response.request.url.path  # which is what the advice would be
    advice = "" if signs_in else _ADVICE.get(code(response) or "", "")
    return GatewayRefused(f"The gateway answered {response.status_code}: {why(response)}{advice}")


def ask(http: httpx.Client, method: str, path: str, *, also: Container[int] = (), **what: Any) -> httpx.Response:
    """A successful answer, or one with a status of `also`. Raises: GatewayRefused."""
    try:
        response = http.request(method, path, **what)
    except httpx.HTTPError as error:
        raise GatewayRefused(f"The gateway at {http.base_url.host} cannot be reached: {error}.") from error
    if response.is_success or response.status_code in also:
        return response
    raise refused(response)


class Gateway:
    """One tenant's routes. Every method raises GatewayRefused."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @classmethod
    def of(cls, settings: "Settings") -> "Gateway":
        """Raises: NotConfigured."""
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        return cls(httpx.Client(base_url=settings.tenant_url, headers=headers, timeout=TIMEOUT_S))

    def attestation(self, nonce: bytes, pool: str | None) -> bytes:
        """What a Trust believes, or not."""
        return self._ask("GET", "/attestation", params=attestation_query(nonce, pool)).content

    def registered_keys(self) -> list[dict[str, Any]]:
        """The registered keys: `key_arn` and `registered_ms`."""
        found: list[dict[str, Any]] = self._ask("GET", "/kms-keys").json()["keys"]
        return found

    def challenge(self, key_arn: str) -> bytes:
        """A secret under the key, which whoever may decrypt with it can prove to know."""
        return base64.b64decode(self._ask("POST", "/kms-keys", json={"key_arn": key_arn}).json()["challenge"])

    def prove(self, key_id: str, proof: bytes) -> None:
        """The secret, encrypted anew."""
        self._ask("PUT", f"/kms-keys/{quote(key_id)}", json={"proof": base64.b64encode(proof).decode()})

    def remove(self, key_id: str) -> None:
        """From now on nothing that is sealed under this key is opened."""
        self._ask("DELETE", f"/kms-keys/{quote(key_id)}")

    def probe(self, key_id: str, nonce: bytes, ciphertext: bytes) -> bytes:
        """The enclave's document on what it, and what nobody without attestation, may decrypt."""
        question = {"nonce": base64.b64encode(nonce).decode(), "ciphertext": base64.b64encode(ciphertext).decode()}
        answer = self._ask("POST", f"/kms-keys/{quote(key_id)}/probe", json=question)
        return base64.b64decode(answer.json()["document"])

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        return ask(self._http, method, path, **what)
