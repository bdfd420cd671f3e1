"""A stream ends with what allowed it, and is charged what was generated until then."""

import threading
from collections.abc import Callable

import msgspec
import pytest

from chalicelib.call import Delta, Started
from chalicelib.engines.scripted import words
from chalicelib.http.route import Route
from chalicelib.inference import look_at_running
from chalicelib.inference.answer import REVOKED
from chalicelib.inference.running import RunningStream, RunningStreams
from chalicelib.refusal import Forbidden, NotFound, Refusal, StoreUnavailable, Unauthenticated
from chalicelib.tenancy import Change
from chalicelib.tenancy.key_text import parse
from chalicelib.tenancy.tenant import CustomRole, Scopes
from tests.api.test_leaving import CHUNK, Client, Front, play
from tests.api.test_silent_models import NEVER, client, dialect_of, every_opened_door, front, saying
from tests.small_deployments import T0, Deployment

AT_ONCE_S = 0.001
BEGUN = (Started("i"), Delta(CHUNK, 1), threading.Event())

Undo = Callable[[Deployment, str], object]


def revoke(deployment: Deployment, key: str) -> None:
    token = parse(key)
    assert token is not None
    deployment.tenancy.revoke_key("acme", token.key_id)


def suspend(deployment: Deployment, _: str) -> None:
    deployment.tenancy.change_tenant("acme", Change(status="suspended"))


def take_down(deployment: Deployment, _: str) -> None:
    deployment.tenancy.take_down("acme")


def take_the_pool_away(deployment: Deployment, _: str) -> None:
    deployment.tenancy.change_tenant("acme", Change(pools=()))


def expire(deployment: Deployment, _: str) -> None:
    deployment.clock.now_ms += 10_000


@pytest.mark.parametrize(
    ("undo", "said"),
    [
        (revoke, b"unknown, revoked or expired"),
        (expire, b"unknown, revoked or expired"),
        (suspend, b"suspended"),
        (take_down, b"taken down"),
        (take_the_pool_away, b"There is no model"),
    ],
)
def test_a_stream_ends_with_what_allowed_it(undo: Undo, said: bytes) -> None:
    running = Front(*BEGUN, look_s=AT_ONCE_S)
    running.key = running.deployment.key(role="developer", expires_ms=T0 + 10_000)

    async def scene() -> None:
        stream = Client(running)
        await stream.until(lambda: CHUNK in stream.body)
        undo(running.deployment, running.key)
        await stream.exchange
        assert stream.ended
        last = stream.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
        assert said in last
        assert msgspec.json.decode(last)["error"]

    play(running, scene)
    (entry,) = running.entries
    assert (entry.outcome, entry.reason) == ("failed", REVOKED)
    assert entry.charged.tokens == entry.used.tokens > 0


def remove(deployment: Deployment) -> None:
    deployment.tenancy.people.remove("acme", "ada")


def demote(deployment: Deployment) -> None:
    deployment.tenancy.people.put("acme", "ada", "viewer")


def narrow_the_role(deployment: Deployment) -> None:
    deployment.tenancy.people.put_roles("acme", {"chatter": CustomRole("developer", Scopes(surfaces=("native",)))})


@pytest.mark.parametrize(
    ("undo", "said"),
    [
        (remove, b"unknown, revoked or expired"),
        (demote, b"does not hold the permission infer"),
        (narrow_the_role, b"limited to: native"),
    ],
)
def test_a_stream_of_a_members_key_ends_with_what_they_may_and_a_services_goes_on(
    undo: Callable[[Deployment], object], said: bytes
) -> None:
    gate = threading.Event()
    told = words("one two")
    running = Front(*told[:2], gate, *told[2:], look_s=AT_ONCE_S)
    deployment, service = running.deployment, running.key
    deployment.tenancy.people.put_roles("acme", {"chatter": CustomRole("developer")})
    deployment.tenancy.people.put("acme", "ada", "chatter")

    async def scene() -> None:
        running.key = deployment.key(member="ada")
        theirs = Client(running)
        running.key = service
        stays = Client(running)
        for stream in (theirs, stays):
            await stream.until(lambda stream=stream: b"one" in stream.body)  # type: ignore[misc]
        undo(deployment)
        await theirs.exchange
        assert said in theirs.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
        gate.set()
        await stays.exchange
        assert stays.body.endswith(b"data: [DONE]\n\n")

    play(running, scene)
    assert sorted(entry.reason for entry in running.entries) == ["", REVOKED]


@every_opened_door
def test_the_refusal_is_the_last_event_in_each_shape(route: Route) -> None:
    told = saying("one two", dialect_of(route))
    second = next(place for place, step in enumerate(told) if isinstance(step, Delta) and b"two" in step.data)
    running = front(*told[:second], threading.Event(), gaps=NEVER, look_s=AT_ONCE_S)

    async def scene() -> None:
        stream = client(running, route)
        await stream.until(lambda: b"one" in stream.body)
        suspend(running.deployment, "")
        await stream.exchange
        assert stream.ended
        last = stream.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
        assert b"suspended" in last
        assert b"req-1" in last or dialect_of(route) == "responses"  # whose last event is the Response

    play(running, scene)
    assert [entry.reason for entry in running.entries] == [REVOKED]


def test_a_stream_that_is_still_allowed_goes_on() -> None:
    gate = threading.Event()
    said = words("one two")
    running = Front(*said[:2], gate, *said[2:], look_s=AT_ONCE_S)
    other = running.deployment.key(role="developer")

    async def scene() -> None:
        stays = Client(running)
        running.key, own = other, running.key
        goes = Client(running)
        running.key = own
        for stream in (stays, goes):
            await stream.until(lambda stream=stream: b"one" in stream.body)  # type: ignore[misc]
        revoke(running.deployment, other)
        await goes.exchange
        gate.set()
        await stays.exchange
        assert stays.body.endswith(b"data: [DONE]\n\n")

    play(running, scene)
    assert sorted(entry.reason for entry in running.entries) == ["", REVOKED]


class Looked:
    """Running streams of some tenants, and how they are looked at."""

    def __init__(self, *tenants: str) -> None:
        self.streams = RunningStreams()
        self.read: list[str] = []
        self.judged: list[str] = []
        self.revoked: list[Refusal] = []
        self.epochs = dict.fromkeys(tenants, 1)
        self.refusal: Exception | None = None
        for number, tenant in enumerate(tenants):
            self.add(f"lease-{number}", tenant)

    def add(self, lease_id: str, tenant: str, expires_ms: int | None = None) -> None:
        def judge() -> int:
            self.judged.append(tenant)
            if self.refusal is not None:
                raise self.refusal
            return self.epochs[tenant]

        self.streams.add(lease_id, RunningStream(tenant, 1, expires_ms, judge=judge, revoke=self.revoked.append))

    def look(self, now_ms: int = T0) -> None:
        self.streams.look(self._epoch_of, now_ms)

    def _epoch_of(self, tenant: str) -> int:
        self.read.append(tenant)
        if tenant not in self.epochs:
            raise NotFound(tenant)
        return self.epochs[tenant]


def test_each_tenant_costs_one_read_however_many_streams_it_has() -> None:
    looked = Looked("a", "b", "a", "b", "a")
    looked.look()
    assert (looked.read, looked.judged) == (["a", "b"], [])


def test_only_a_tenant_whose_epoch_has_moved_is_judged_and_once() -> None:
    looked = Looked("a", "b")
    looked.epochs["b"] = 2
    looked.look()
    looked.look()
    assert (looked.judged, looked.revoked) == (["b"], [])


def test_what_has_expired_is_judged_at_the_same_epoch() -> None:
    looked = Looked("a")
    looked.add("expiring", "a", expires_ms=T0)
    looked.look(T0 - 1)
    assert looked.judged == []
    looked.refusal = Unauthenticated()
    looked.look()
    assert looked.revoked == [looked.refusal]


def test_the_streams_of_a_tenant_that_is_gone_are_judged() -> None:
    looked = Looked("a")
    del looked.epochs["a"]
    looked.refusal = Forbidden("It is gone.")
    looked.look()
    assert looked.revoked == [looked.refusal]


def test_a_store_that_does_not_answer_ends_no_stream() -> None:
    looked = Looked("a", "b")
    looked.epochs |= {"a": 2, "b": 2}
    looked.refusal = StoreUnavailable()
    looked.look()
    assert (looked.judged, looked.revoked) == (["a", "b"], [])
    looked.refusal = None
    looked.look()
    assert looked.judged == ["a", "b"] * 2


def test_what_keeps_one_tenants_streams_from_being_judged_keeps_no_others() -> None:
    looked = Looked("b")
    looked.epochs["b"] = 2
    looked.refusal = Unauthenticated()

    def unreadable() -> int:
        raise ZeroDivisionError

    def epoch_of(tenant: str) -> int:
        return unreadable() if tenant == "0" else 2

    for tenant in ("0", "a"):
        stream = RunningStream(tenant, 1, None, judge=unreadable, revoke=looked.revoked.append)
        looked.streams.add(f"lease-of-{tenant}", stream)
    with pytest.raises(ZeroDivisionError):
        looked.streams.look(epoch_of, T0)
    assert looked.revoked == [looked.refusal]


def test_a_bug_that_keeps_a_stream_from_being_judged_is_told_and_ends_no_round(
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployment = Deployment()
    deployment.tenant("acme")
    path = deployment.path()
    refused: list[Refusal] = []

    def unreadable() -> int:
        raise ZeroDivisionError

    path.running.add("lease-0", RunningStream("acme", -1, None, judge=unreadable, revoke=refused.append))
    assert look_at_running(path)
    (line,) = capsys.readouterr().out.splitlines()
    assert msgspec.json.decode(line)["error"] == "ZeroDivisionError"


def test_an_ended_stream_is_not_looked_at() -> None:
    looked = Looked("a")
    looked.streams.remove("lease-0")
    looked.streams.remove("lease-0")
    looked.look()
    assert (looked.read, len(looked.streams)) == ([], 0)
