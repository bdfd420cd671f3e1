"""Who calls the gateway in these tests: the official openai package, and httpx by itself."""

from typing import Any

import httpx
import msgspec
from openai import AsyncOpenAI, OpenAI

import cloister
from tests.client.gateways import API_KEY, PCR0, TENANT, Gateway

MODES = ("hpke", "esdk", "kms")
STREAMING = ("hpke", "esdk")
QUESTION = [{"role": "user", "content": "a secret question"}]
ANSWER = "You said: a secret question"


class Place(msgspec.Struct, frozen=True):
    """A gateway that is served, and the key that opens its tenant's requests."""

    gateway: Gateway
    url: str
    key_arn: str

    @property
    def base_url(self) -> str:
        return f"{self.url}/tenants/{TENANT}/v1"

    def sealing(self, mode: str, **changed: Any) -> dict[str, Any]:
        """The parameters of a transport that works here, and what the test has to say about them."""
        given = {
            "mode": mode,
            "measurements": [{0: PCR0}],
            "root": self.gateway.authority.root_pem(),
            "kms_key_arn": self.key_arn,
            "kms_client": self.gateway.kms,
        }
        return given | changed

    def openai(self, mode: str, *, retries: int = 0, **changed: Any) -> Any:  # the SDK's overloads are for literals
        http: Any = cloister.SealedTransport(**self.sealing(mode, **changed))
        return OpenAI(base_url=self.base_url, api_key=API_KEY, http_client=http, max_retries=retries)

    def async_openai(self, mode: str, *, retries: int = 0, **changed: Any) -> Any:
        http: Any = cloister.AsyncSealedTransport(**self.sealing(mode, **changed))
        return AsyncOpenAI(base_url=self.base_url, api_key=API_KEY, http_client=http, max_retries=retries)

    def httpx(self, mode: str, **changed: Any) -> httpx.Client:
        http = cloister.SealedTransport(**self.sealing(mode, **changed))
        http.headers["Authorization"] = f"Bearer {API_KEY}"
        return http


def asked(client: Any) -> str:
    """What the model answers to QUESTION."""
    answer = client.chat.completions.create(model="demo", messages=QUESTION)
    return str(answer.choices[0].message.content)


def streamed(client: Any) -> str:
    """The same, chunk by chunk."""
    stream = client.chat.completions.create(model="demo", messages=QUESTION, stream=True)
    return "".join(chunk.choices[0].delta.content for chunk in stream).rstrip()
