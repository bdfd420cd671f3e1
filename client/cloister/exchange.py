"""One request and its answer, without any I/O: the transports send what this yields, and send back what came.

The generator is driven as httpx drives its own `auth_flow`: it yields an Ask for each request to send and is sent
the response; the Answer, which it yields last, is what the caller gets.
"""

import base64
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from cloister import judging
from cloister.modes import Call, Mode, Source
from cloister.refusal import NotSealed
from cloister.trust import NONCE_BYTES, Believed, Trust

SEALED_TYPE = "application/octet-stream"

_ROUTE = re.compile(r"(?P<tenant_path>.*/tenants/(?P<tenant>[^/]+))/v1/(?:chat/completions|completions|embeddings)")
# What describes a body in the clear. `accept-encoding` too: nothing is won by compressing what is sealed.
NO_API_KEY = "none"
"""For tenants whose KMS key is credential enough: the openai SDK insists on some API key, and this one is not sent."""
_NOBODYS = ("authorization", f"Bearer {NO_API_KEY}")

_OF_THE_BODY = {"accept", "accept-encoding", "content-encoding", "content-length", "content-type", "transfer-encoding"}


class Send(msgspec.Struct, frozen=True):
    """Send this. Where `whole`, or when the answer is an error, read the body before the response is sent back."""

    request: httpx.Request
    whole: bool = False


class Answer(msgspec.Struct, frozen=True):
    """Give this to the caller: the response as it is, or with what `open` makes of its body."""

    response: httpx.Response
    open: Callable[[Source], Iterator[bytes]] | None = None
    stream: bool = False

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Of the opened answer."""
        return [*_kept(self.response), ("content-type", "text/event-stream" if self.stream else "application/json")]


Exchange = Generator[Send | Answer, httpx.Response, None]
"""`send(None)` begins it, as with every generator."""


class Exchanges:
    """What one transport knows: its mode, whom it trusts, and which enclaves it has verified. Thread-safe."""

    def __init__(
        self,
        mode: Mode,
        trust: Trust,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        rules_sha256: str | None = None,
    ) -> None:
        """`rules_sha256`: see SealedTransport."""
        self._mode = mode
        self._trust = trust
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._rules_sha256 = rules_sha256
        self._believed: dict[httpx.URL, Believed] = {}  # by where their document is asked for

    def exchange(self, request: httpx.Request) -> Exchange:
        """The life of one request, whose body has been read. Blocks where the mode calls KMS.

        Raises: SealError.
        """
        if not request.content:
            yield Answer((yield Send(request)))
            return
        call = read(request)
        source = document_url(request.url, call.pool)
        known = self._believed.get(source)
        if known is not None and known.until_ms <= self._now_ms():
            known = None
        believed = known or (yield from self._attest(request, source))
        if isinstance(believed, httpx.Response):
            yield Answer(believed)
            return
        answer = yield from self._ask_sealed(request, call, believed)
        if answer.response.status_code == HTTPStatus.UNAUTHORIZED and known is not None:
            # A key that was replaced early cannot be told from a wrong one, except by asking for the current one.
            newer = yield from self._attest(request, source)
            if isinstance(newer, Believed) and newer.configuration != known.configuration:
                answer = yield from self._ask_sealed(request, call, newer)
        yield answer

    def _attest(
        self, request: httpx.Request, source: httpx.URL
    ) -> Generator[Send | Answer, httpx.Response, Believed | httpx.Response]:
        """The enclave, verified; or the gateway's refusal to let us ask for it."""
        nonce = self._random_bytes(NONCE_BYTES)
        url = source.copy_with(params=attestation_query(nonce, source.params["pool"]))
        asked = httpx.Request("GET", url, headers=_kept(request), extensions=request.extensions)
        response = yield Send(asked, whole=True)
        if response.is_error:
            return _as_openai(response)
        believed = self._trust.believe(response.content, nonce=nonce, now_ms=self._now_ms())
        self._believed[source] = believed
        return believed

    def _ask_sealed(
        self, request: httpx.Request, call: Call, believed: Believed
    ) -> Generator[Send | Answer, httpx.Response, Answer]:
        request_id = str(uuid.UUID(bytes=self._random_bytes(16), version=4))
        sealed = self._mode.seal(call, request_id, believed)
        headers = httpx.Headers(_kept(request))
        headers.update(_headers(self._mode, call, request_id))
        response = yield Send(
            httpx.Request(
                request.method, request.url, headers=headers, content=sealed.body, extensions=request.extensions
            )
        )
        # Errors come in the clear. Whatever claims success must open, or the gateway could answer in its own words.
        return Answer(response, None if response.is_error else self._opening(sealed.open, call), call.stream)

    def _opening(self, opened: Callable[[Source], Iterator[bytes]], call: Call) -> Callable[[Source], Iterator[bytes]]:
        rules = self._rules_sha256
        if rules is None:
            return opened
        judged = judging.stream if call.stream else judging.whole
        return lambda source: judged(opened(source), rules)


def read(request: httpx.Request) -> Call:
    """What `request` asks. Raises: NotSealed."""
    route = _ROUTE.fullmatch(request.url.path)
    if request.method != "POST" or route is None:
        raise NotSealed(
            f"{request.method} {request.url.path} would leave in the clear. Sealed are POST chat/completions, "
            "completions and embeddings under a base URL that ends in /tenants/TENANT/v1; for the rest use a client "
            "of its own."
        )
    try:
        members = msgspec.json.decode(request.content, type=dict[str, Any])
    except ValueError as error:
        raise NotSealed("The body is not a JSON object, so it cannot be sealed.") from error
    pool = members.get("model")
    if not isinstance(pool, str) or not pool.isascii() or not pool:
        raise NotSealed("The body's model is not a pool's name, in ASCII; it decides which enclave is asked.")
    ceilings = (members.get("max_completion_tokens"), members.get("max_tokens"))
    return Call(
        tenant=route["tenant"],
        pool=pool,
        body=request.content,
        stream=members.get("stream") is True,
        ceiling_tokens=next((ceiling for ceiling in ceilings if isinstance(ceiling, int)), None),
    )


def document_url(url: httpx.URL, pool: str) -> httpx.URL:
    """Where the attestation of the enclave behind `pool` is asked for, without the nonce."""
    route = _ROUTE.fullmatch(url.path)
    assert route is not None  # by read
    return url.copy_with(path=route["tenant_path"] + "/attestation", params={"pool": pool})


def attestation_query(nonce: bytes, pool: str | None) -> dict[str, str]:
    """The query of GET /tenants/TENANT/attestation; without a pool, the gateway takes the first with an enclave."""
    query = {"nonce": base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()}
    return query if pool is None else query | {"pool": pool}


def why(response: httpx.Response) -> str:
    """The sentence in an error of the gateway's, of either shape: RFC 9457's, or OpenAI's."""
    try:
        problem = response.json()
        return str(problem.get("detail") or problem["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.reason_phrase


def code(response: httpx.Response) -> str | None:
    """The name of an error of the gateway's, as OpenAI's error objects have it, whichever shape it came in."""
    try:
        problem = response.json()
        name = problem["error"]["code"] if "error" in problem else problem["type"]
        return name and str(name).removeprefix("/problems/").replace("-", "_")
    except (ValueError, KeyError, TypeError):
        return None


def _as_openai(refused: httpx.Response) -> httpx.Response:
    """A refusal of a native route in OpenAI's shape: their SDK shows the reason in no other."""
    error = {"message": why(refused), "type": "attestation_error", "param": None, "code": code(refused)}
    return httpx.Response(refused.status_code, headers=_kept(refused), json={"error": error})


def _kept(message: httpx.Request | httpx.Response) -> list[tuple[str, str]]:
    kept = ((name, value) for name, value in message.headers.multi_items() if name not in _OF_THE_BODY)
    return [(name, value) for name, value in kept if (name, value) != _NOBODYS]


def _headers(mode: Mode, call: Call, request_id: str) -> dict[str, str]:
    headers = {
        "Content-Type": SEALED_TYPE,
        "Accept": SEALED_TYPE,
        "X-Seal-Mode": mode.name,
        "X-Model-Pool": call.pool,
        "X-Request-ID": request_id,
    }
    if mode.key_arn is not None:
        headers["X-KMS-Key-ID"] = mode.key_arn
    if call.ceiling_tokens is not None:
        headers["X-Max-Tokens"] = str(call.ceiling_tokens)
    if call.stream:
        headers["X-Seal-Stream"] = "true"
    return headers
