"""The official openai package with one line changed: everything leaves sealed, and comes back as it should."""

import asyncio
import json
from typing import Any

import openai
import pytest

import cloister
from tests.client.callers import ANSWER, MODES, QUESTION, STREAMING, Place, asked, streamed
from tests.client.gateways import Refusal


@pytest.mark.parametrize("mode", MODES)
def test_a_chat_is_answered(place: Place, mode: str) -> None:
    assert asked(place.openai(mode)) == ANSWER


@pytest.mark.parametrize("mode", MODES)
def test_a_chat_is_answered_to_asynchronous_callers(place: Place, mode: str) -> None:
    async def ask() -> Any:
        async with place.async_openai(mode) as client:
            return await client.chat.completions.create(model="demo", messages=QUESTION)

    assert asyncio.run(ask()).choices[0].message.content == ANSWER


@pytest.mark.parametrize("mode", STREAMING)
def test_a_chat_is_streamed(place: Place, mode: str) -> None:
    assert streamed(place.openai(mode)) == ANSWER


@pytest.mark.parametrize("mode", STREAMING)
def test_a_chat_is_streamed_to_asynchronous_callers(place: Place, mode: str) -> None:
    async def ask() -> str:
        async with place.async_openai(mode) as client:
            stream = await client.chat.completions.create(model="demo", messages=QUESTION, stream=True)
            return "".join([chunk.choices[0].delta.content async for chunk in stream])

    assert asyncio.run(ask()).rstrip() == ANSWER


def test_asynchronous_streams_run_side_by_side(place: Place) -> None:
    async def ask(client: Any) -> str:
        stream = await client.chat.completions.create(model="demo", messages=QUESTION, stream=True)
        return "".join([chunk.choices[0].delta.content async for chunk in stream]).rstrip()

    async def all_of_them() -> list[str]:
        async with place.async_openai("hpke") as client:
            return await asyncio.gather(*(ask(client) for _ in range(8)))

    assert asyncio.run(all_of_them()) == [ANSWER] * 8


@pytest.mark.parametrize("mode", STREAMING)
def test_the_first_chunk_is_there_before_the_others_are_made(place: Place, mode: str) -> None:
    place.gateway.before_the_rest.clear()
    stream = place.openai(mode).chat.completions.create(model="demo", messages=QUESTION, stream=True)
    assert next(stream).choices[0].delta.content == "You "
    place.gateway.before_the_rest.set()
    assert "".join(chunk.choices[0].delta.content for chunk in stream).rstrip() == ANSWER.removeprefix("You ")


@pytest.mark.parametrize("mode", STREAMING)
def test_the_first_chunk_reaches_asynchronous_callers_before_the_others_are_made(place: Place, mode: str) -> None:
    async def ask() -> list[str]:
        async with place.async_openai(mode) as client:
            stream = await client.chat.completions.create(model="demo", messages=QUESTION, stream=True)
            first = (await anext(stream)).choices[0].delta.content
            place.gateway.before_the_rest.set()
            return [first, *[chunk.choices[0].delta.content async for chunk in stream]]

    place.gateway.before_the_rest.clear()
    assert "".join(asyncio.run(ask())).rstrip() == ANSWER


def test_a_stream_that_its_reader_leaves_is_closed(place: Place) -> None:
    client = place.openai("hpke")
    with client.chat.completions.create(model="demo", messages=QUESTION, stream=True) as stream:
        next(stream)
    assert asked(client) == ANSWER


@pytest.mark.parametrize("mode", STREAMING)
def test_an_asynchronous_caller_may_give_up_while_it_waits(place: Place, mode: str) -> None:
    async def ask() -> str:
        async with place.async_openai(mode) as client:
            stream = await client.chat.completions.create(model="demo", messages=QUESTION, stream=True)
            await anext(stream)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await stream.close()
            place.gateway.before_the_rest.set()
            answer = await client.completions.create(model="demo", prompt="a secret")
            return str(answer.choices[0].text)

    place.gateway.before_the_rest.clear()
    assert asyncio.run(ask()) == "a secret."


@pytest.mark.parametrize("mode", MODES)
def test_completions_and_embeddings_are_sealed_too(place: Place, mode: str) -> None:
    client = place.openai(mode)
    assert client.completions.create(model="demo", prompt="a secret").choices[0].text == "a secret."
    answer = client.embeddings.create(model="embed", input="a secret", encoding_format="float")
    assert answer.data[0].embedding == [0.5, 0.25]
    assert not [seen for seen in place.gateway.sealed if b"secret" in seen.body]


@pytest.mark.parametrize("hybrid", [True, False])
def test_hpke_seals_with_and_without_the_post_quantum_half(place: Place, hybrid: bool) -> None:
    assert asked(place.openai("hpke", hybrid=hybrid)) == ANSWER


def test_models_are_listed_in_the_clear(place: Place) -> None:
    assert [model.id for model in place.openai("hpke").models.list()] == ["demo"]
    assert place.gateway.attested == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_gateway_sees_what_it_must_know_and_nothing_else(place: Place, mode: str) -> None:
    place.openai(mode).chat.completions.create(model="demo", messages=QUESTION, max_tokens=7)
    (seen,) = place.gateway.sealed
    assert b"secret" not in seen.body
    assert seen.headers["Content-Type"] == seen.headers["Accept"] == "application/octet-stream"
    assert (seen.headers["X-Seal-Mode"], seen.headers["X-Model-Pool"]) == (mode, "demo")
    assert seen.headers["X-Max-Tokens"] == "7"
    assert seen.headers["X-KMS-Key-ID"] == (None if mode == "hpke" else place.key_arn)
    assert seen.headers["X-Seal-Stream"] is None


def test_headers_of_the_callers_own_travel_along_and_never_contradict_the_seal(place: Place) -> None:
    own = {"X-Request-ID": "mine", "X-Seal-Mode": "kms", "Content-Type": "text/plain", "X-Route": "blue"}
    place.openai("hpke").chat.completions.create(model="demo", messages=QUESTION, extra_headers=own)
    (seen,) = place.gateway.sealed
    assert seen.headers.get_all("X-Seal-Mode") == ["hpke"]
    assert len(seen.headers.get_all("X-Request-ID", [])) == 1
    assert [seen.headers["X-Route"] for seen in place.gateway.seen] == ["blue", "blue"]


def test_the_engine_gets_the_request_as_it_was_made(place: Place) -> None:
    place.openai("hpke").chat.completions.create(
        model="demo", messages=QUESTION, max_completion_tokens=9, extra_body={"ignore_eos": True}
    )
    assert place.gateway.opened == [
        {"model": "demo", "messages": QUESTION, "max_completion_tokens": 9, "ignore_eos": True}
    ]


@pytest.mark.parametrize("mode", MODES)
def test_each_try_of_the_sdk_is_sealed_anew(place: Place, mode: str) -> None:
    place.gateway.refuse = [Refusal(503, {"error": {"message": "Wait.", "code": "enclave_unavailable"}})]
    assert asked(place.openai(mode, retries=1)) == ANSWER
    first, second = place.gateway.sealed
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert first.body != second.body


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(429, "rate_limit_exceeded", openai.RateLimitError), (413, "request_too_large", openai.APIStatusError)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_in_the_clear_arrive_as_they_are(
    place: Place, status: int, code: str, error: type[openai.APIStatusError], stream: bool
) -> None:
    place.gateway.refuse = [Refusal(status, {"error": {"message": "Not now.", "code": code}})]
    with pytest.raises(error) as raised:
        place.openai("hpke").chat.completions.create(model="demo", messages=QUESTION, stream=stream)
    assert (raised.value.status_code, raised.value.code) == (status, code)


def test_errors_in_the_clear_reach_asynchronous_callers(place: Place) -> None:
    async def ask() -> None:
        async with place.async_openai("hpke") as client:
            await client.chat.completions.create(model="demo", messages=QUESTION)

    place.gateway.refuse = [Refusal(429, {"error": {"message": "Not now.", "code": "rate_limit_exceeded"}})]
    with pytest.raises(openai.RateLimitError, match="Not now"):
        asyncio.run(ask())


def test_a_wrong_api_key_is_said_by_the_gateway(place: Place) -> None:
    with pytest.raises(openai.AuthenticationError, match="The API key is not valid") as raised:
        asked(place.openai("hpke").with_options(api_key="another"))
    assert raised.value.code == "invalid_api_key"
    assert not place.gateway.sealed


def test_a_pool_without_an_enclave_is_said_by_the_gateway(place: Place) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no pool nowhere with an enclave"):
        place.openai("hpke").chat.completions.create(model="nowhere", messages=QUESTION)
    assert not place.gateway.sealed


def test_what_cannot_be_sealed_does_not_leave(place: Place) -> None:
    client = place.openai("hpke")
    with pytest.raises(cloister.NotSealed, match="would leave in the clear"):
        client.responses.create(model="demo", input="a secret")
    with pytest.raises(cloister.NotSealed, match="would leave in the clear"):
        client.files.create(file=b"a secret", purpose="assistants")
    with pytest.raises(cloister.NotSealed, match="model is not a pool's name"):
        client.chat.completions.create(model="", messages=QUESTION)
    assert not place.gateway.seen


def test_mode_kms_says_what_it_cannot_carry(place: Place) -> None:
    client = place.openai("kms")
    with pytest.raises(cloister.NotSealed, match="cannot stream"):
        streamed(client)
    with pytest.raises(cloister.NotSealed, match=r"carries 4,096. Use mode='esdk' or 'hpke'"):
        client.completions.create(model="demo", prompt="x" * 4_096)
    assert not place.gateway.sealed


def test_mode_kms_carries_a_nonce_that_the_answer_echoes(place: Place) -> None:
    answer = place.openai("kms").chat.completions.create(model="demo", messages=QUESTION)
    assert answer.echo["nonce"] == place.gateway.opened[0]["nonce"]


@pytest.mark.parametrize("mode", ["esdk", "kms"])
def test_a_kms_that_refuses_is_named_with_its_reason(place: Place, mode: str) -> None:
    missing = place.key_arn[:-12] + "000000000000"
    with pytest.raises(cloister.KmsRefused, match=r"NotFoundException for arn:aws:kms") as raised:
        asked(place.openai(mode, kms_key_arn=missing, retries=2))
    assert "secret" not in json.dumps(raised.value.text)
    assert not place.gateway.sealed
