"""A stream speaks while its model does not; until then its status is exact, and afterwards nothing of it is lost."""

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from app import app
from chalicelib import wiring
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import Step, words
from chalicelib.http.bridge import Bridge
from chalicelib.http.pipe import Pipe
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.http.shared_threads import SharedThreads
from chalicelib.http.silence import COMMENT, PING, Gaps, Promise
from chalicelib.http.sources import Sources
from chalicelib.http.turns import Patience
from chalicelib.inference.answer import CLIENT_LEFT
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings
from tests.api.test_leaving import CHUNK, Client, Front, eventually, play
from tests.api.test_permissions import TABLE
from tests.engines import responses
from tests.patience import PATIENCE_S
from tests.small_deployments import Deployment, served

AT_ONCE = Gaps(0.001, 0.001)
NEVER = Gaps(10 * PATIENCE_S, 10 * PATIENCE_S)
ROLE = "arn:aws:iam::123456789012:role/app"
OPENING = (
    b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m",'
    b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":0}}}',
    b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
)
ENDING = (
    b'{"type":"content_block_stop","index":0}',
    b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}',
    b'{"type":"message_stop"}',
)
STREAMING = [route for route in ROUTES if route.streams]
OPENED = [route for route in STREAMING if route.shape != "bedrock"]
"""AWS's framing has no sign of life: its SDKs take whatever event they meet for a part of the answer."""

every_door = pytest.mark.parametrize("route", STREAMING, ids=lambda route: route.name)
every_opened_door = pytest.mark.parametrize("route", OPENED, ids=lambda route: route.name)


def front(*script: Step, gaps: Gaps = AT_ONCE, **bridge: Any) -> Front:
    """Whose engine keeps silent as long as the script holds it."""
    made = Front(*script, gaps=gaps, iam=lambda _: {"userArn": ROLE}, **bridge)
    made.deployment.tenancy.put_pool(
        Pool("model-a", (Scripted("a", url="a"),), ("chat.completions", "completions", "invoke"))
    )
    made.deployment.tenancy.principals.put("acme", [ROLE])
    return made


def client(front: Front, route: Route) -> Client:
    """Somebody who asks there for a stream."""
    body = TABLE[route.called].body
    headers = {"x-request-id": "req-1", "x-tenant-id": "acme"}
    if route.auth == "signed":
        headers["authorization"] = "AWS4-HMAC-SHA256 whatever"
    return Client(front, path=route.path.format(tenant="acme", model="model-a"), body=body or {}, headers=headers)


def dialect_of(route: Route) -> str:
    return "responses" if route.name == "create_response" else route.shape


def saying(text: str, dialect: str) -> tuple[Step, ...]:
    """What a model says, one word a delta, in the dialect of whoever is answered."""
    if dialect == "responses":
        return tuple(responses.says(text, responses.asked(stream=True)))
    if dialect != "anthropic":
        return words(text)
    deltas = [
        Delta(
            msgspec.json.encode(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            ),
            1,
        )
        for word in text.split(" ")
    ]
    return (
        Started("i"),
        *(Delta(each) for each in OPENING),
        *deltas,
        *(Delta(each) for each in ENDING),
        Finished(Usage(1, len(deltas))),
    )


def sign(route: Route) -> bytes:
    return PING if route.shape == "anthropic" else COMMENT


def without_signs(body: bytes) -> bytes:
    return body.replace(PING, b"").replace(COMMENT, b"")


@every_opened_door
def test_a_stream_is_opened_while_its_model_keeps_silent(route: Route) -> None:
    gate, open_gate = threading.Event(), threading.Event()
    open_gate.set()
    said = saying("one two", dialect_of(route))
    silent, prompt = front(gate, *said), front(open_gate, *said, gaps=NEVER)
    bodies: list[bytes] = []

    async def late() -> None:
        asking = client(silent, route)
        await asking.until(lambda: asking.body.count(sign(route)) >= 3)
        assert (asking.status, without_signs(asking.body)) == (200, b"")
        assert asking.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (asking.headers["cache-control"], asking.headers["x-accel-buffering"]) == ("no-store", "no")
        assert (asking.headers["x-request-id"], asking.headers["x-region"]) == ("req-1", "us-east-1")
        gate.set()
        await asking.exchange
        assert asking.ended
        bodies.append(asking.body)

    async def soon() -> None:
        asking = client(prompt, route)
        await asking.exchange
        assert asking.headers["x-accel-buffering"] == "no"
        bodies.append(asking.body)

    play(silent, late)
    play(prompt, soon)
    assert without_signs(bodies[0]) == bodies[1] != b""
    assert [entry.outcome for entry in silent.entries] == ["completed"]


@every_opened_door
def test_a_gap_in_a_stream_is_filled(route: Route) -> None:
    gate = threading.Event()
    said = saying("one two", dialect_of(route))
    second = next(place for place, step in enumerate(said) if isinstance(step, Delta) and b"two" in step.data)
    pausing = front(*said[:second], gate, *said[second:])

    async def scene() -> None:
        asking = client(pausing, route)
        await asking.until(lambda: b"one" in asking.body and asking.body.partition(b"one")[2].count(sign(route)) >= 3)
        gate.set()
        await asking.exchange
        assert asking.ended
        assert b"two" in asking.body

    play(pausing, scene)
    assert [entry.outcome for entry in pausing.entries] == ["completed"]


@every_opened_door
def test_what_is_refused_after_the_opening_is_the_last_event(route: Route) -> None:
    gate = threading.Event()
    failing = front(gate, EngineFailed("It broke."))

    async def scene() -> None:
        asking = client(failing, route)
        await asking.until(lambda: sign(route) in asking.body)
        gate.set()
        await asking.exchange
        assert (asking.status, asking.ended) == (200, True)
        name, _, data = without_signs(asking.body).rpartition(b"data: ")
        assert name == (b"" if dialect_of(route) == "openai" else b"event: error\n")
        assert data.endswith(b"}\n\n")
        assert b"req-1" in data
        said = msgspec.json.decode(data)
        assert said["title"] if route.shape == "problem" else said["error"]["message"]
        if dialect_of(route) == "responses":  # whose clients look at the type of each event
            assert (said["type"], said["sequence_number"], said["message"]) == ("error", 0, said["error"]["message"])

    play(failing, scene)
    assert [entry.outcome for entry in failing.entries] == ["failed"]


@every_door
def test_until_then_a_refusal_has_its_status(route: Route) -> None:
    failing = front(EngineFailed("It broke."), gaps=NEVER)

    async def scene() -> None:
        asking = client(failing, route)
        await asking.exchange
        assert asking.status in (502, 503, 529)
        assert asking.headers["content-type"] != "text/event-stream; charset=utf-8"

    play(failing, scene)


def test_another_target_may_still_answer_after_the_opening() -> None:
    gate = threading.Event()
    falling = front()

    def says(target: Target, _: Call) -> Iterable[Step]:
        return (gate, EngineFailed("It broke.")) if target.name == "a" else words("from b")

    falling.deployment = Deployment(script=says)
    falling.deployment.pool("model-a", "a", "b")
    falling.deployment.tenant()
    falling.key = falling.deployment.key()

    async def scene() -> None:
        asking = Client(falling)
        await asking.until(lambda: COMMENT in asking.body)
        gate.set()
        await asking.exchange
        assert b" b" in asking.body
        assert asking.body.endswith(b"data: [DONE]\n\n")

    play(falling, scene)
    assert [entry.outcome for entry in falling.entries] == ["completed"]


def test_an_answer_that_is_no_stream_is_never_opened() -> None:
    gate = threading.Event()
    silent = front(gate, *words("one two"))

    async def scene() -> None:
        whole, streamed = Client(silent, stream=False), Client(silent)
        await streamed.until(lambda: streamed.body.count(COMMENT) >= 5)
        assert whole.status == 0
        gate.set()
        await asyncio.gather(whole.exchange, streamed.exchange)
        assert COMMENT not in whole.body

    play(silent, scene)


@pytest.mark.parametrize("stops", ["the client", "the server"])
def test_who_leaves_an_opened_stream_is_settled(stops: str) -> None:
    gate = threading.Event()
    silent = front(gate, Started("i"), Delta(CHUNK, 1), threading.Event())

    async def scene() -> None:
        asking = Client(silent)
        await asking.until(lambda: COMMENT in asking.body)
        if stops == "the client":
            asking.leave()
            await asking.exchange
        else:
            asking.exchange.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking.exchange
        assert not asking.ended
        gate.set()
        await eventually(lambda: silent.at_rest)

    play(silent, scene)
    assert [entry.reason for entry in silent.entries] == [CLIENT_LEFT]


def test_a_slow_reader_is_sent_no_signs_on_top_of_what_waits_for_it() -> None:
    async def scene() -> None:
        thread = ThreadPoolExecutor(1)
        share = SharedThreads(1, "lengthy", 50, Patience()).share("acme")
        pipe = Pipe(thread.submit, thread.submit, share, Sources(), PATIENCE_S, Gaps(0, 0))
        pipe.promised(Promise({}, COMMENT, bytes))
        await pipe.head
        for _ in range(20):  # turns of the loop, in each of which a sign would be due
            await asyncio.sleep(0)
        assert await pipe.drained() == COMMENT
        pipe.close()

    asyncio.run(asyncio.wait_for(scene(), PATIENCE_S))


def test_the_sdks_read_a_stream_that_began_with_silence() -> None:
    gates = {"chat": threading.Event(), "message": threading.Event()}

    def says(_: Target, call: Call) -> Iterable[Step]:
        if call.operation == "messages":
            return (gates["message"], *saying("one two", "anthropic"))
        return (gates["chat"], *saying("one two", "openai"))

    deployment = Deployment(script=says)
    deployment.pool()
    deployment.tenant()
    question: Any = [{"role": "user", "content": "hi"}]
    bridge = Bridge(app, Settings().body_limit_bytes, {}, gaps=AT_ONCE)
    with wiring.opening_into(deployment.rooms()), served(bridge) as gateway:
        how: Any = {"api_key": deployment.key(), "max_retries": 0, "timeout": PATIENCE_S}
        base = f"{gateway.base_url}/tenants/acme"
        with openai.OpenAI(base_url=f"{base}/v1", **how) as one:
            chunks = one.chat.completions.create(model="model-a", messages=question, stream=True)
            gates["chat"].set()  # it has its headers, though the model has said nothing
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two"
        other = anthropic.Anthropic(base_url=base, **how)
        with other, other.messages.stream(model="model-a", max_tokens=9, messages=question) as stream:
            gates["message"].set()
            assert stream.get_final_text() == "onetwo"
