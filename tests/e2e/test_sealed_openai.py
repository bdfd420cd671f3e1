"""The official openai SDK, sealed by one line, against the running system; and everybody who stands in between."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import requests
from openai import AsyncOpenAI, OpenAI

import cloister
from emulators.security_module import Authority
from tests.e2e.admin import admin, entries, in_flight, settled
from tests.e2e.sealed_tenants import Sealed, SealedTenant, enclave_of, sealed_tenant
from tests.images.houses import Gated
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

MODES = ["hpke", "esdk", "kms"]
STREAMING = ["hpke", "esdk"]
QUESTION: Any = [{"role": "user", "content": "What is Cloister?"}]


@pytest.fixture(scope="module")
def sealed(running_system: RunningSystem) -> Sealed:
    no_limits = {"rates": [], "budgets": [], "in_flight": 50}
    return Sealed(*sealed_tenant(running_system, "sealed-sdk", limits=no_limits))


def chat(client: OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "demo", "messages": QUESTION, "max_tokens": 24, "temperature": 0, **more}
    )


def said(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_is_the_same_sealed_as_in_the_clear(sealed: Sealed, mode: str) -> None:
    with OpenAI(base_url=f"{sealed.tenant.url}/v1", api_key=sealed.tenant.api_key) as clear:
        expected = chat(clear)
    answer = chat(sealed.client(mode))
    assert answer.choices[0].message.content == expected.choices[0].message.content
    assert answer.usage == expected.usage
    newest = entries(sealed.system, sealed.tenant.name, sealed.tenant.api_key)[0]
    assert (newest["sealed"], newest["charged"]["tokens"]) == (mode, answer.usage.total_tokens)


@pytest.mark.parametrize("mode", STREAMING)
@pytest.mark.parametrize("model", ["demo", "demo-direct"])
def test_a_stream_comes_in_pieces_with_usage_for_who_asked(sealed: Sealed, mode: str, model: str) -> None:
    client = sealed.client(mode)
    chunks = list(chat(client, model=model, stream=True, stream_options={"include_usage": True}))
    assert len(chunks) > 10
    assert chunks[-1].usage.completion_tokens == 24
    assert said(chunks) == chat(client, model=model).choices[0].message.content
    assert not any(chunk.usage for chunk in chat(client, model=model, stream=True))


@pytest.mark.parametrize("mode", ["hpke", "esdk"])
def test_every_route_that_infers_is_sealed(sealed: Sealed, mode: str) -> None:
    client = sealed.client(mode)
    assert client.completions.create(model="demo", prompt="Cloister is", max_tokens=4).choices[0].text
    vectors = client.embeddings.create(model="embed", input=["one", "two"]).data
    assert [len(each.embedding) for each in vectors] == [384, 384]
    assert "demo" in [model.id for model in client.models.list()]


async def _async_answers(sealed: Sealed, mode: str) -> tuple[str, str]:
    async with AsyncOpenAI(
        base_url=f"{sealed.tenant.url}/v1",
        api_key=sealed.tenant.api_key,
        http_client=sealed.transport(mode, cloister.AsyncSealedTransport),
    ) as client:
        asked: Any = {"model": "demo", "messages": QUESTION, "max_tokens": 24, "temperature": 0}
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True)
        return whole.choices[0].message.content or "", said([chunk async for chunk in stream])


@pytest.mark.parametrize("mode", STREAMING)
def test_the_asynchronous_client_is_sealed_as_well(sealed: Sealed, mode: str) -> None:
    whole, streamed = asyncio.run(_async_answers(sealed, mode))
    assert whole == streamed
    assert "Cloister" in whole


@pytest.mark.parametrize("mode", STREAMING)
def test_many_at_once_get_each_their_own_answer(sealed: Sealed, mode: str) -> None:
    client = sealed.client(mode)

    def ask(number: int) -> bool:
        first = {"role": "user", "content": f"What is {number} plus {number}?"}
        answer = chat(client, messages=[first], max_tokens=12)
        again = said(chat(client, messages=[first], max_tokens=12, stream=True))
        return bool(answer.choices[0].message.content == again)

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(36)))
    assert in_flight(sealed.system, sealed.tenant.name, sealed.tenant.api_key) == 0


def test_who_holds_the_key_needs_no_api_key_where_the_tenant_wants_it_so(running_system: RunningSystem) -> None:
    tenant, arn = sealed_tenant(running_system, "sealed-keyless")
    keyless = Sealed(SealedTenant(running_system, tenant.name, cloister.NO_API_KEY), arn)
    with pytest.raises(openai.AuthenticationError):
        chat(keyless.client("esdk"))
    wanted = {"auth": "kms"}
    requests.put(f"{tenant.url}/sealing", json=wanted, headers=tenant.headers, timeout=PATIENCE_S).raise_for_status()
    assert "Cloister" in chat(keyless.client("esdk")).choices[0].message.content
    with pytest.raises(openai.AuthenticationError, match="seal in mode esdk"):
        chat(keyless.client("kms"))


def test_refusals_keep_the_types_that_the_sdk_knows(sealed: Sealed) -> None:
    client = sealed.client("hpke")
    with pytest.raises(openai.NotFoundError):
        chat(client, model="none-such")
    with pytest.raises(openai.BadRequestError):
        chat(client, n=2)
    with pytest.raises(openai.AuthenticationError):
        chat(client.with_options(api_key="ck_nobody.aaaaaaaa_" + "x" * 43))


@pytest.fixture
def gated(running_system: RunningSystem, tmp_path: Path) -> Iterator[Gated]:
    """What runs the pool `gated`: a container of this test's own, with the running system's enclave behind it."""
    with Gated(tmp_path, enclave=enclave_of(running_system)) as container:
        pool = {"name": "gated", "targets": [container.target], "sealed": True}
        admin(running_system, "PUT", "/pools/gated", pool)
        yield container
        admin(running_system, "DELETE", "/pools/gated")


@pytest.mark.parametrize("mode", STREAMING)
def test_a_client_that_leaves_leaves_nothing_behind(running_system: RunningSystem, gated: Gated, mode: str) -> None:
    leaver = Sealed(*sealed_tenant(running_system, f"sealed-leaver-{mode}", pools=["gated"]))
    client = leaver.client(mode)
    for _ in range(5):
        gated.gate.let(1)
        stream = chat(client, model="gated", stream=True)
        assert next(iter(stream)).choices[0].delta.content == "w0 "  # the model waits at its gate for the next one
        stream.close()
        gated.await_rest()
    left = settled(running_system, leaver.tenant.name, leaver.tenant.api_key, 5)
    assert [each["reason"] for each in left] == ["client_left"] * 5
    gated.gate.let(5)
    assert chat(client, model="gated").choices[0].message.content == "w0 w1 w2 w3 w4 "


def test_an_enclave_that_the_client_does_not_allow_gets_nothing(sealed: Sealed, tmp_path: Path) -> None:
    before = len(entries(sealed.system, sealed.tenant.name, sealed.tenant.api_key))
    (tmp_path / "root.pem").write_bytes(Authority.made(1_795_000_000_000).root_pem())
    for mode in MODES:
        for more in ({"measurements": [{0: "ab" * 48}]}, {"root": tmp_path / "root.pem"}, {"root": None}):
            with pytest.raises(cloister.DocumentRefused):
                chat(sealed.client(mode, **more))
    assert len(entries(sealed.system, sealed.tenant.name, sealed.tenant.api_key)) == before


Change = Callable[[bytes], bytes]


class Meddler(httpx.BaseTransport):
    """Somebody between the client and the gateway: sees what is sent, and changes what comes back, or what goes."""

    def __init__(self, answer: Change = lambda body: body, request: Change = lambda body: body) -> None:
        self._behind = httpx.HTTPTransport()
        self._answer = answer
        self._request = request
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self._behind.handle_request(request)
        body = self._request(request.read())
        self.sent.append(httpx.Request(request.method, request.url, headers=request.headers, content=body))
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
        response = self._behind.handle_request(
            httpx.Request(request.method, request.url, headers=headers, content=body)
        )
        changed = response.read()
        if response.status_code == 200:
            changed = self._answer(changed)
        kept = [(name, value) for name, value in response.headers.raw if name.lower() not in _FRAMING]
        return httpx.Response(response.status_code, headers=kept, stream=_Pieces(changed))


_FRAMING = (b"content-length", b"transfer-encoding")


class _Pieces(httpx.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), 100):
            yield self._body[start : start + 100]


def flip(at: float) -> Change:
    """The byte so far into a body has one bit changed."""

    def change(body: bytes) -> bytes:
        place = min(int(len(body) * at), len(body) - 1)
        return bytes([*body[:place], body[place] ^ 0x10, *body[place + 1 :]])

    return change


@pytest.mark.parametrize("mode", MODES)
def test_no_changed_answer_is_believed(sealed: Sealed, mode: str) -> None:
    changes: list[Change] = [flip(at / 10) for at in range(11)]
    changes += [lambda body: body[:-1], lambda body: body[: len(body) // 2], lambda body: body + b"\0", lambda _: b""]
    for change in changes:
        with pytest.raises((cloister.NotOpened, cloister.BrokenOff)):
            chat(sealed.client(mode, transport=Meddler(answer=change)))


@pytest.mark.parametrize("mode", STREAMING)
def test_no_changed_stream_is_believed_to_its_end(sealed: Sealed, mode: str) -> None:
    changes: list[Change] = [flip(at / 5) for at in range(6)]
    changes += [
        lambda _: b"",
        lambda body: body[:-1],
        lambda body: body[: len(body) * 2 // 3],
        lambda body: body + b"\0",
    ]
    for change in changes:
        with pytest.raises((cloister.NotOpened, cloister.BrokenOff)):
            list(chat(sealed.client(mode, transport=Meddler(answer=change)), stream=True))


def test_chunks_in_another_order_are_noticed(sealed: Sealed) -> None:
    def swapped(body: bytes) -> bytes:
        head, chunks, at = body[:33], [], 33
        while at < len(body):
            end = at + 9 + int.from_bytes(body[at : at + 4])
            chunks.append(body[at:end])
            at = end
        chunks[1], chunks[2] = chunks[2], chunks[1]
        return head + b"".join(chunks)

    with pytest.raises(cloister.NotOpened):
        client = sealed.client("hpke", transport=Meddler(answer=swapped))
        list(chat(client, stream=True, max_tokens=400, extra_body={"ignore_eos": True}))


@pytest.mark.parametrize("mode", MODES)
def test_the_answer_to_another_request_is_noticed(sealed: Sealed, mode: str) -> None:
    kept: list[bytes] = []

    def exchanged(body: bytes) -> bytes:
        kept.append(body)
        return kept[0]

    client = sealed.client(mode, transport=Meddler(answer=exchanged))
    chat(client)
    with pytest.raises(cloister.NotOpened):
        chat(client)


@pytest.mark.parametrize("mode", MODES)
def test_a_changed_request_is_opened_by_nobody(sealed: Sealed, mode: str) -> None:
    for at in (0.0, 0.02, 0.1, 0.5, 0.9, 1.0):
        with pytest.raises(openai.AuthenticationError) as refused:
            chat(sealed.client(mode, transport=Meddler(request=flip(at))))
        assert refused.value.body["code"] == "key_validation_failed"


@pytest.mark.parametrize("mode", MODES)
def test_a_recorded_request_is_answered_once(sealed: Sealed, mode: str) -> None:
    recorder = Meddler()
    chat(sealed.client(mode, transport=recorder))
    (recorded,) = recorder.sent
    for request_id in (recorded.headers["X-Request-ID"], "another-one"):
        headers = {**recorded.headers, "X-Request-ID": request_id}
        headers.pop("content-length", None)
        again = requests.post(str(recorded.url), data=recorded.content, headers=headers, timeout=PATIENCE_S)
        assert again.status_code == 401, again.text
        assert json.loads(again.text)["error"]["code"] == "key_validation_failed"


@pytest.mark.parametrize("mode", ["esdk", "hpke"])
def test_a_recorded_request_serves_no_other_tenant(sealed: Sealed, mode: str, running_system: RunningSystem) -> None:
    other, _ = sealed_tenant(running_system, f"sealed-eve-{mode}")
    recorder = Meddler(request=lambda body: b"\0" + body)  # so that the original is never opened
    with pytest.raises(openai.AuthenticationError):
        chat(sealed.client(mode, transport=recorder))
    (recorded,) = recorder.sent
    headers = {**recorded.headers, "Authorization": f"Bearer {other.api_key}"}
    headers.pop("content-length", None)
    headers.pop("x-kms-key-id", None)
    url = str(recorded.url).replace(sealed.tenant.name, other.name)
    stolen = requests.post(url, data=recorded.content[1:], headers=headers, timeout=PATIENCE_S)
    assert stolen.status_code == 401, stolen.text
