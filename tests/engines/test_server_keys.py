"""Whose key a server is asked with, how it is renewed, and that nobody else sees it."""

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import botocore.session
import msgspec
import pytest

from chalicelib.call import Call, Finished, Operation
from chalicelib.dialects import failures
from chalicelib.engines import begin
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.engines.secrets_manager import Unreadable
from chalicelib.engines.server_keys import PAUSE_MS, SECRET_AGE_MS, Key, KeyedTarget
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed, Malformed, Refusal
from chalicelib.settings import Settings
from tests.engines import messages
from tests.engines.answers import STREAM, WHOLE, chat, ending, event
from tests.engines.servers import LAST_CHUNK, Request, Server, Wire, chunk, serving, stream_head, whole
from tests.small_deployments import Hands
from tests.stores import Served

OLD, NEW = "sk-old-0123456789", "sk-new-9876543210"


class Vault:
    """Secrets that a test rotates."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets
        self.reads = 0

    def __call__(self, secret: str) -> str:
        self.reads += 1
        if secret not in self.secrets:
            raise Unreadable("Secrets Manager: ResourceNotFoundException")
        return self.secrets[secret]


class World(NamedTuple):
    engine: OpenAICompatibleEngine
    target: OpenAICompatible
    server: Server
    vault: Vault
    clock: Hands
    accepted: set[str]  # keys that the server takes
    refusal: list[int]  # the status of its refusal

    def ask(self, call: Call) -> object:
        """The last event. Raises what the engine raises."""
        stream = begin(self.engine, self.target, call)
        try:
            return list(stream)[-1]
        finally:
            stream.close()

    @property
    def sent(self) -> list[str]:
        """What was said of a key, request by request."""
        return [request.headers.get("authorization", "") for request in self.server.requests]


@pytest.fixture
def world() -> Iterator[World]:
    accepted, refusal = {OLD}, [401]

    def serve(request: Request, wire: Wire) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in accepted:
            wire.send(whole(b'{"error":{"message":"Incorrect API key provided: %s"}}' % key.encode(), refusal[0]))
        elif request.method == "GET":
            wire.send(whole(b"{}", 404 if request.path == "/health" else 200))
        elif msgspec.json.decode(request.body).get("stream"):
            wire.send(stream_head(), chunk(STREAM), LAST_CHUNK)
        else:
            wire.send(whole(WHOLE))

    vault, clock = Vault(theirs=OLD), Hands()
    with serving(serve) as server:
        engine = OpenAICompatibleEngine(Settings(), clock, vault)
        target = OpenAICompatible("theirs", model="org/model", url=f"{server.root}/v1", secret="theirs")
        yield World(engine, target, server, vault, clock, accepted, refusal)


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
refusals = pytest.mark.parametrize("status", [401, 403])


@pytest.mark.parametrize(
    "text", [OLD, f"  {OLD}\n", json.dumps({"api_key": OLD}), json.dumps({"api_key": f"{OLD}\n", "x": 1})]
)
def test_a_secret_holds_the_key_as_it_is_or_as_a_member(world: World, text: str) -> None:
    world.vault.secrets["theirs"] = text
    assert isinstance(world.ask(chat()), Finished)
    assert world.sent == [f"Bearer {OLD}"]


@both
@pytest.mark.parametrize("operation", ["chat.completions", "completions", "embeddings", "messages"])
def test_the_key_goes_with_every_call(world: World, operation: Operation, stream: bool) -> None:
    asks: Callable[..., Call] = messages.asked if operation == "messages" else chat
    assert isinstance(world.ask(asks(operation=operation, stream=stream)), Finished)
    assert world.sent == [f"Bearer {OLD}"]


def test_the_key_goes_with_probes_and_questions(world: World) -> None:
    assert world.engine.probe(world.target).total == world.target.capacity
    assert [request.path for request in world.server.requests] == ["/health", "/v1/models"]
    world.engine.consult(world.target, b'{"a question":1}')
    assert world.sent == [f"Bearer {OLD}"] * 3


def test_a_target_without_a_secret_is_sent_none_and_reads_none(world: World) -> None:
    world.accepted.add("")
    plain = msgspec.structs.replace(world.target, secret="")
    list(world.engine.open(plain, chat()))
    world.engine.probe(plain)
    assert set(world.sent) == {""}
    assert world.vault.reads == 0


def test_who_has_no_key_does_not_pay_for_those_who_have() -> None:
    program = "import sys, chalicelib.engines.openai_compatible as _; print('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_a_key_is_read_once_and_again_when_it_is_old(world: World) -> None:
    for _ in range(3):
        world.ask(chat())
    assert world.vault.reads == 1
    world.vault.secrets["theirs"] = NEW
    world.accepted.add(NEW)
    world.clock.now_ms += SECRET_AGE_MS
    world.ask(chat())
    assert (world.sent[-1], world.vault.reads) == (f"Bearer {NEW}", 2)


@both
@refusals
def test_a_rotated_key_costs_no_request(world: World, stream: bool, status: int) -> None:
    world.ask(chat())
    world.vault.secrets["theirs"] = json.dumps({"api_key": NEW})
    world.refusal[0] = status
    world.accepted.clear()
    world.accepted.add(NEW)
    assert isinstance(world.ask(chat(stream=stream)), Finished)
    assert isinstance(world.ask(chat(stream=stream)), Finished)
    assert world.sent[1:] == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]
    assert world.vault.reads == 2


def test_a_probe_takes_up_a_rotated_key_as_well(world: World) -> None:
    world.engine.probe(world.target)
    world.vault.secrets["theirs"] = NEW
    world.accepted.clear()
    world.accepted.add(NEW)
    world.engine.probe(world.target)
    assert world.sent[-1] == f"Bearer {NEW}"


@both
@refusals
def test_a_key_that_is_refused_is_the_operators_to_mend(
    world: World, caplog: pytest.LogCaptureFixture, stream: bool, status: int
) -> None:
    world.accepted.clear()
    world.refusal[0] = status
    with pytest.raises(EngineFailed) as refused:
        world.ask(chat(stream=stream))
    assert refused.value.text == failures.REFUSED
    assert OLD not in "".join(traceback.format_exception(refused.value))
    assert f"target theirs answers {status}" in caplog.text
    assert OLD not in caplog.text


@refusals
def test_a_server_that_wants_a_key_and_has_none_is_the_operators_to_mend(world: World, status: int) -> None:
    world.refusal[0] = status
    with pytest.raises(EngineFailed) as refused:
        list(world.engine.open(msgspec.structs.replace(world.target, secret=""), chat()))
    assert refused.value.text == failures.REFUSED


def test_a_key_that_is_refused_for_good_is_not_read_for_every_call(world: World) -> None:
    world.accepted.clear()
    for _ in range(5):
        with pytest.raises(EngineFailed):
            world.ask(chat())
    assert (world.vault.reads, len(world.sent)) == (2, 5)
    world.clock.now_ms += PAUSE_MS
    world.vault.secrets["theirs"] = NEW
    world.accepted.add(NEW)
    assert isinstance(world.ask(chat()), Finished)
    assert world.vault.reads == 3


def test_an_old_key_goes_on_while_secrets_manager_is_away(world: World) -> None:
    world.ask(chat())
    del world.vault.secrets["theirs"]
    world.clock.now_ms += SECRET_AGE_MS
    for _ in range(3):
        assert isinstance(world.ask(chat()), Finished)
    assert world.vault.reads == 2
    world.accepted.clear()
    with pytest.raises(EngineFailed) as refused:
        world.ask(chat())
    assert refused.value.text == failures.REFUSED


@pytest.mark.parametrize(
    "text",
    [None, "", " \n", "{}", "{", '{"api_key":1}', '{"api_key":""}', "sk two", "sk\r\nx-evil: 1", "é" * 9, "x" * 9_000],
)
def test_a_secret_without_a_key_is_the_operators_to_mend_and_nothing_is_sent(
    world: World, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    world.vault.secrets = {} if text is None else {"theirs": text}
    with pytest.raises(EngineFailed) as refused:
        world.ask(chat())
    assert refused.value.text == failures.NO_CREDENTIALS
    shown = "".join(traceback.format_exception(refused.value)) + caplog.text
    assert "target theirs has no key" in shown
    assert not text or not text.strip("{} \n") or text not in shown
    with pytest.raises(EngineFailed):
        world.engine.probe(world.target)
    assert world.sent == []


def test_a_key_is_not_sent_where_others_can_read_along(world: World) -> None:
    """As a pool may say that was put when its targets had no keys."""
    target = msgspec.structs.replace(world.target, url="http://models.example.com/v1")
    with pytest.raises(EngineFailed) as refused:
        world.engine.open(target, chat())
    assert (refused.value.text, world.vault.reads) == (failures.NO_CREDENTIALS, 0)


QUOTED = b'{"error":{"message":"bad seed with %s at %s/v1","type":"invalid_request_error"}}'


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400])
def test_what_a_server_quotes_of_the_key_is_not_shown(
    world: World, caplog: pytest.LogCaptureFixture, stream: bool, status: int
) -> None:
    said = QUOTED % (OLD.encode(), world.server.root.encode())

    def quote(_: Request, wire: Wire) -> None:
        if status == 200 and stream:
            wire.send(stream_head(), chunk(event(said)), LAST_CHUNK)
        else:
            wire.send(whole(said, status))

    world.server.handler = quote
    with caplog.at_level(logging.DEBUG):
        refusal = _refusal(world, chat(stream=stream))
    assert isinstance(refusal, Malformed)
    assert "bad seed" in refusal.text
    assert OLD not in refusal.text
    assert OLD not in caplog.text
    assert OLD not in "".join(traceback.format_exception(refusal))


def _refusal(world: World, call: Call) -> Refusal | None:
    try:
        return ending(iter(world.engine.open(world.target, call)))[1]
    except Refusal as refusal:
        return refusal


def test_a_key_is_in_no_repr() -> None:
    key = Key(OLD)
    assert OLD not in repr(key)
    assert OLD not in repr(KeyedTarget("a", url="https://a/v1", key=key))


def test_a_key_is_read_from_secrets_manager(world: World, stores: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stores.url("local"))
    secrets = botocore.session.get_session().create_client("secretsmanager", region_name="us-east-1")
    name = secrets.create_secret(Name="cloister-dev-target-theirs", SecretString=OLD)["ARN"]
    engine = OpenAICompatibleEngine(Settings(store_deadline_ms=10_000))
    target: Any = msgspec.structs.replace(world.target, secret=name)
    assert isinstance(list(engine.open(target, chat()))[-1], Finished)
    secrets.put_secret_value(SecretId=name, SecretString=NEW)
    world.accepted.clear()
    world.accepted.add(NEW)
    assert isinstance(list(engine.open(target, chat()))[-1], Finished)
    assert world.sent == [f"Bearer {OLD}", f"Bearer {OLD}", f"Bearer {NEW}"]
    with pytest.raises(EngineFailed):
        engine.open(msgspec.structs.replace(target, secret="cloister-dev-target-missing"), chat())
