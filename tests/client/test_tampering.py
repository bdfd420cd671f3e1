"""Whoever sits between the client and the enclave, the gateway too, can only break an answer, and is found out."""

import asyncio
import json
from typing import Any

import openai
import pytest

import cloister
from tests.client.callers import ANSWER, MODES, QUESTION, STREAMING, Place, asked, streamed
from tests.client.gateways import API_KEY, Refusal

BITS = {"hpke": 1, "esdk": 23, "kms": 7}
"""Every how many bytes one is flipped: each try in the modes with KMS costs two calls of it."""


def flipped(data: bytes, index: int) -> bytes:
    index %= len(data)
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


@pytest.mark.parametrize("mode", MODES)
def test_a_flipped_bit_anywhere_in_an_answer_is_refused(place: Place, mode: str) -> None:
    with place.httpx(mode) as http:
        lengths = []

        def ask() -> bytes:
            body = {"model": "demo", "input": "x"}
            return http.post(f"{place.base_url}/embeddings", json=body).content

        def measured(pieces: list[bytes]) -> list[bytes]:
            lengths.append(len(b"".join(pieces)))
            return pieces

        place.gateway.tamper = measured
        assert b"embedding" in ask()
        for index in range(0, lengths[0], BITS[mode]):
            place.gateway.tamper = lambda pieces, at=index: [flipped(b"".join(pieces), at)]  # type: ignore[misc]
            with pytest.raises(cloister.SealError) as raised:
                ask()
            assert isinstance(raised.value, cloister.NotOpened | cloister.BrokenOff), index


@pytest.mark.parametrize("mode", STREAMING)
def test_a_flipped_bit_anywhere_in_a_stream_is_refused(place: Place, mode: str) -> None:
    client = place.openai(mode)
    for piece in range(5):
        for index in (0, 4, 8, 60, -1):

            def tamper(pieces: list[bytes], piece: int = piece, index: int = index) -> list[bytes]:
                changed = pieces[piece] and flipped(pieces[piece], index)
                return [*pieces[:piece], changed, *pieces[piece + 1 :]]

            place.gateway.tamper = tamper
            with pytest.raises((cloister.NotOpened, cloister.BrokenOff)):
                streamed(client)


@pytest.mark.parametrize("mode", STREAMING)
@pytest.mark.parametrize("kept", [*range(6), -1])
def test_a_stream_that_is_cut_between_chunks_is_broken_off(place: Place, mode: str, kept: int) -> None:
    place.gateway.tamper = lambda pieces: pieces[:kept]
    with pytest.raises(cloister.BrokenOff, match="ended before its end"):
        streamed(place.openai(mode))


@pytest.mark.parametrize("mode", STREAMING)
def test_what_came_of_a_broken_stream_was_genuine(place: Place, mode: str) -> None:
    place.gateway.tamper = lambda pieces: pieces[:3]
    stream = place.openai(mode).chat.completions.create(model="demo", messages=QUESTION, stream=True)
    words = []
    with pytest.raises(cloister.BrokenOff):
        for chunk in stream:
            words.append(chunk.choices[0].delta.content)
    assert words
    assert ANSWER.startswith("".join(words).rstrip())


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_is_cut_is_refused(place: Place, mode: str) -> None:
    place.gateway.tamper = lambda pieces: [b"".join(pieces)[:-1]]
    with pytest.raises((cloister.BrokenOff, cloister.NotOpened)):
        asked(place.openai(mode))


@pytest.mark.parametrize("mode", STREAMING)
@pytest.mark.parametrize("order", [(0, 2, 1, 3), (1, 0, 2, 3), (0, 1, 1, 2, 3), (0, 1, 3)])
def test_chunks_in_another_order_are_refused(place: Place, mode: str, order: tuple[int, ...]) -> None:
    place.gateway.tamper = lambda pieces: [*(pieces[index] for index in order), *pieces[4:]]
    with pytest.raises(cloister.NotOpened, match="was not sealed for this request"):
        streamed(place.openai(mode))


@pytest.mark.parametrize("mode", STREAMING)
def test_more_after_the_last_chunk_is_refused(place: Place, mode: str) -> None:
    place.gateway.tamper = lambda pieces: [*pieces, pieces[-1]]
    with place.httpx(mode) as http, pytest.raises(cloister.NotOpened):  # the openai package reads no further
        http.post(f"{place.base_url}/chat/completions", json={"model": "demo", "messages": QUESTION, "stream": True})


@pytest.mark.parametrize("mode", MODES)
def test_the_answer_to_another_request_is_refused(place: Place, mode: str) -> None:
    kept: list[list[bytes]] = []

    def replay(pieces: list[bytes]) -> list[bytes]:
        kept.append(pieces)
        return kept[0]

    place.gateway.tamper = replay
    client = place.openai(mode)
    assert asked(client) == ANSWER
    with pytest.raises(cloister.NotOpened, match="was not sealed for this request"):
        asked(client)


@pytest.mark.parametrize("mode", STREAMING)
def test_the_stream_of_another_request_is_refused(place: Place, mode: str) -> None:
    kept: list[list[bytes]] = []

    def replay(pieces: list[bytes]) -> list[bytes]:
        kept.append(pieces)
        return kept[0]

    place.gateway.tamper = replay
    client = place.openai(mode)
    assert streamed(client) == ANSWER
    with pytest.raises(cloister.NotOpened):
        streamed(client)


def test_an_answer_that_whoever_may_encrypt_has_made_is_refused(place: Place) -> None:
    forged = json.dumps({"choices": [], "echo": {"nonce": "guessed", "request_sha256": "0" * 64}})
    blob = place.gateway.kms.encrypt(KeyId=place.key_arn, Plaintext=forged)["CiphertextBlob"]
    place.gateway.tamper = lambda pieces: [blob]
    with pytest.raises(cloister.NotOpened):
        asked(place.openai("kms"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("answer", [b"", bytes(7_000)])
def test_an_answer_of_no_possible_length_is_refused(place: Place, mode: str, answer: bytes) -> None:
    place.gateway.tamper = lambda pieces: [answer]
    with pytest.raises((cloister.NotOpened, cloister.BrokenOff)):
        asked(place.openai(mode))


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_in_the_clear_is_refused(place: Place, mode: str) -> None:
    place.gateway.tamper = lambda pieces: [b'{"choices":[{"message":{"content":"Trust me."}}]}']
    with pytest.raises((cloister.NotOpened, cloister.BrokenOff)):
        asked(place.openai(mode))


@pytest.mark.parametrize("status", [201, 302])
def test_no_status_short_of_an_error_lets_an_answer_in_the_clear_through(place: Place, status: int) -> None:
    place.gateway.refuse = [Refusal(status, {"choices": [{"message": {"content": "Trust me."}}]})]
    with pytest.raises((cloister.NotOpened, cloister.BrokenOff)):
        asked(place.openai("hpke"))


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_never_tried_again_and_its_cause_is_seen(place: Place, stream: bool) -> None:
    place.gateway.tamper = lambda pieces: [flipped(pieces[0], -1), *pieces[1:]]
    with pytest.raises(cloister.NotOpened, match="Ask again"):
        client = place.openai("hpke", retries=3)
        list(client.chat.completions.create(model="demo", messages=QUESTION, stream=stream))
    assert len(place.gateway.sealed) == 1


@pytest.mark.parametrize("mode", MODES)
def test_asynchronous_callers_see_it_too(place: Place, mode: str) -> None:
    async def ask() -> Any:
        async with place.async_openai(mode, retries=3) as client:
            return await client.chat.completions.create(model="demo", messages=QUESTION)

    place.gateway.tamper = lambda pieces: [flipped(pieces[0], -1), *pieces[1:]]
    with pytest.raises(cloister.NotOpened):
        asyncio.run(ask())
    assert len(place.gateway.sealed) == 1


@pytest.mark.parametrize("mode", STREAMING)
@pytest.mark.parametrize("kept", [3, -1])
def test_asynchronous_readers_of_a_cut_stream_see_it_too(place: Place, mode: str, kept: int) -> None:
    async def ask() -> None:
        async with place.async_openai(mode) as client:
            async for _ in await client.chat.completions.create(model="demo", messages=QUESTION, stream=True):
                pass

    place.gateway.tamper = lambda pieces: pieces[:kept]
    with pytest.raises(cloister.BrokenOff):
        asyncio.run(ask())


def test_a_connection_that_breaks_is_an_error_of_the_network(place: Place) -> None:
    with pytest.raises(openai.APIConnectionError):
        client = place.openai("hpke")
        asked(client.with_options(base_url="http://127.0.0.1:1/tenants/acme/v1", api_key=API_KEY))
