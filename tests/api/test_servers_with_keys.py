"""What a server says to the gateway's key is between the two: at no door is it the caller's."""

from collections.abc import Iterator

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.call import Operation
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible, Pool
from chalicelib.settings import Settings
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.tenant import Tenant
from tests.api.test_names import DOORS, ask, serve
from tests.engines.servers import Request, Wire, serving, whole
from tests.small_deployments import T0, Deployment, Gateway

KEY = "sk-theirs-0123456789"
OPERATIONS: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings")


class Guarded:
    """A server that takes one key, and a pool in front of it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.accepted = KEY
        self.status = 401

    def serve(self, request: Request, wire: Wire) -> None:
        if request.headers.get("authorization") == f"Bearer {self.accepted}":
            serve(request, wire)
        else:
            error = {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}
            wire.send(whole(msgspec.json.encode({"error": error}), self.status))


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    deployment = Deployment()
    deployment.engines = {"openai_compatible": OpenAICompatibleEngine(Settings(), read_secret=lambda _secret: KEY)}
    guarded = Guarded(deployment)
    with serving(guarded.serve) as server:
        target = OpenAICompatible("theirs", url=f"{server.root}/v1", secret="cloister-key")
        deployment.tenancy.put_pool(Pool("chat", (target,), OPERATIONS))
        deployment.tenant("acme", pools=("chat",))
        with wiring.opening_into(deployment.rooms()):
            yield guarded


@pytest.mark.parametrize("door", DOORS)
def test_a_call_is_made_with_the_gateways_key_and_not_the_callers(
    gateway: Gateway, guarded: Guarded, door: str
) -> None:
    assert ask(gateway, guarded.deployment.key(), DOORS[door], "chat").status == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("door", DOORS)
def test_a_key_that_is_refused_is_never_the_callers_401(
    gateway: Gateway, guarded: Guarded, door: str, status: int, stream: bool
) -> None:
    guarded.status, guarded.accepted = status, "another"
    answer = ask(gateway, guarded.deployment.key(), DOORS[door], "chat", stream=stream)
    assert answer.status in (502, 503, 529), answer.body
    assert KEY not in f"{answer.headers} {answer.body!r}"
    entry = guarded.deployment.store.ledger.page("acme", 0, T0 * 2, None, 1).entries[0]
    assert (entry.outcome, entry.charged.tokens) == ("failed", 0)


@pytest.mark.parametrize("status", [401, 404, 500])
def test_what_a_server_quotes_reaches_no_log_and_no_operators_page(
    gateway: Gateway, guarded: Guarded, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    guarded.status, guarded.accepted = status, "another"
    guarded.deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
    operator = guarded.deployment.key(PLATFORM_TENANT)
    for _ in range(3):
        ask(gateway, guarded.deployment.key(), DOORS["chats"], "chat")
    shown = gateway.call("GET", "/admin/pools/chat", key=operator)
    assert shown.json["targets"][0]["last_failure"]["symptom"] == f"http {status} invalid_api_key"
    told = capsys.readouterr()
    assert '"BreakerOpened":1' in told.out
    assert KEY not in f"{shown.body!r} {told.out} {told.err}"
