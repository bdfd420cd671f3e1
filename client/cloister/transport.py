"""`OpenAI(base_url=…, http_client=cloister.SealedTransport(…))`: httpx clients whose every request is sealed.

Both drive the same exchange; they differ in how they wait. Where the exchange calls KMS, the asynchronous one lets
a thread wait for it.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import anyio.from_thread
import anyio.to_thread
import httpx
from anyio import CapacityLimiter

from cloister import clock, judging, modes, trust
from cloister.ending import proved_to_its_end
from cloister.exchange import Answer, Exchanges, Send
from cloister.modes import KmsClient, ModeName

R = TypeVar("R")


def _exchanges(
    mode: ModeName,
    kms_key_arn: str | None,
    kms_client: KmsClient | None,
    root: str | Path | bytes | None,
    measurements: trust.Given,
    hybrid: bool,
    rules_sha256: str | None,
    now_ms: Callable[[], int],
) -> Exchanges:
    return Exchanges(
        modes.mode(mode, kms_key_arn=kms_key_arn, kms_client=kms_client, hybrid=hybrid),
        trust.Trust(trust.root(root), trust.allowed(measurements)),
        now_ms,
        os.urandom,
        judging.expected(rules_sha256),
    )


class SealedTransport(httpx.Client):
    """The `http_client` for `openai.OpenAI`: seals requests, verifies the enclave, opens answers.

    mode          "hpke" (no KMS), "esdk" (any size, your KMS key) or "kms" (4,096 bytes, unary, your KMS key)
    measurements  the enclaves to trust: [{0: PCR0, 1: …}, …] in hex, a Measurements, a ReleaseManifest, or ANY_ENCLAVE
    kms_key_arn   the key that is registered to the tenant, by its full ARN (esdk, kms)
    kms_client    boto3's by default, in the key's region
    root          PEM bytes or path of the only trusted attestation root; AWS's by default
    hybrid        hpke with ML-KEM-768 beside X25519
    rules_sha256  the rules of what may be said that answers must have been judged by; "" for none, None for any
    transport     what carries the sealed requests; give an httpx.HTTPTransport for a proxy or a private CA
    now_ms        the clock, in ms since 1970

    Raises: NotConfigured, BadArn, ManifestRefused; later, from each call, SealError.
    """

    def __init__(
        self,
        mode: ModeName,
        *,
        measurements: trust.Given = None,
        kms_key_arn: str | None = None,
        kms_client: KmsClient | None = None,
        root: str | Path | bytes | None = None,
        hybrid: bool = True,
        rules_sha256: str | None = None,
        transport: httpx.BaseTransport | None = None,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        exchanges = _exchanges(mode, kms_key_arn, kms_client, root, measurements, hybrid, rules_sha256, now_ms)
        # With a transport of its own, httpx mounts no proxy of the environment beside it: nothing goes around us.
        super().__init__(transport=_Sealing(exchanges, transport or httpx.HTTPTransport()))


class AsyncSealedTransport(httpx.AsyncClient):
    """The `http_client` for `openai.AsyncOpenAI`; see SealedTransport."""

    def __init__(
        self,
        mode: ModeName,
        *,
        measurements: trust.Given = None,
        kms_key_arn: str | None = None,
        kms_client: KmsClient | None = None,
        root: str | Path | bytes | None = None,
        hybrid: bool = True,
        rules_sha256: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        exchanges = _exchanges(mode, kms_key_arn, kms_client, root, measurements, hybrid, rules_sha256, now_ms)
        super().__init__(transport=_AsyncSealing(exchanges, transport or httpx.AsyncHTTPTransport()))


class _Sealing(httpx.BaseTransport):
    def __init__(self, exchanges: Exchanges, carrier: httpx.BaseTransport) -> None:
        self._exchanges = exchanges
        self._carrier = carrier

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        exchange = self._exchanges.exchange(request)
        step = next(exchange)
        while isinstance(step, Send):
            response = self._carrier.handle_request(step.request)
            try:
                if step.whole or response.is_error:
                    response.read()
                step = exchange.send(response)
            except BaseException:
                response.close()
                raise
        if step.open is None:
            return step.response
        pieces = step.open(step.response.iter_raw())
        if step.stream:
            return _answered(step, _Opened(step.response, proved_to_its_end(pieces)))
        opened = _Opened(step.response, pieces)
        try:
            return _answered(step, httpx.ByteStream(b"".join(opened)))
        finally:
            opened.close()

    def close(self) -> None:
        self._carrier.close()


class _AsyncSealing(httpx.AsyncBaseTransport):
    def __init__(self, exchanges: Exchanges, carrier: httpx.AsyncBaseTransport) -> None:
        self._exchanges = exchanges
        self._carrier = carrier

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        exchange = self._exchanges.exchange(request)
        step: Send | Answer = await _in_thread(next, exchange)
        while isinstance(step, Send):
            response = await self._carrier.handle_async_request(step.request)
            try:
                if step.whole or response.is_error:
                    await response.aread()
                step = await _in_thread(exchange.send, response)
            except BaseException:
                await response.aclose()
                raise
        if step.open is None:
            return step.response
        pieces = step.open(_awaited(step.response.aiter_raw()))
        if step.stream:
            return _answered(step, _AsyncOpened(step.response, proved_to_its_end(pieces)))
        opened = _AsyncOpened(step.response, pieces)
        try:
            return _answered(step, httpx.ByteStream(b"".join([piece async for piece in opened])))
        finally:
            await opened.aclose()

    async def aclose(self) -> None:
        await self._carrier.aclose()


class _Opened(httpx.SyncByteStream):
    def __init__(self, response: httpx.Response, pieces: Iterator[bytes]) -> None:
        self._response = response
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._response.close()


class _AsyncOpened(httpx.AsyncByteStream):
    def __init__(self, response: httpx.Response, pieces: Iterator[bytes]) -> None:
        self._response = response
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await _in_thread(next, self._pieces, None)) is not None:
            yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


def _answered(answer: Answer, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> httpx.Response:
    return httpx.Response(HTTPStatus.OK, headers=answer.headers, stream=stream)


def _awaited(source: AsyncIterator[bytes]) -> Iterator[bytes]:
    """An asynchronous source as an ordinary one, for a thread of `_in_thread`."""

    async def following() -> bytes | None:
        return await anext(source, None)

    return iter(lambda: anyio.from_thread.run(following), None)


async def _in_thread(function: Callable[..., R], *args: Any) -> R:
    # A limiter of its own: threads that wait for answers must not hold up each other, nor the program's own.
    result: R = await anyio.to_thread.run_sync(function, *args, limiter=CapacityLimiter(1))
    return result
