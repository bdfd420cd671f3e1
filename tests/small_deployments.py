"""Deployments small enough for a test: one store, and as many gateways over it as the test asks for.

    deployment = Deployment()                      # in memory; or Deployment(dynamodb(tables))
    deployment.pool("model-a", "a", "b")
    deployment.tenant("acme")
    key = deployment.key("acme")
    with served() as gateway, wiring.opening_into(deployment.rooms()):
        gateway.call("POST", "/inference", key=key, json={...})

Models answer with the name of the target that ran them.
"""

import asyncio
import hashlib
import json
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from itertools import count
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import msgspec

from chalicelib.admission import Admission
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.shares.arithmetic import shards_of
from chalicelib.admission.shares.keeping import Keeping
from chalicelib.admission.shares.memory import MemoryKeeping
from chalicelib.admission.shares.store import DynamoKeeping
from chalicelib.admission.store import DynamoMeters
from chalicelib.call import Call
from chalicelib.contents import Contents
from chalicelib.contents.data_keys import DataKeys
from chalicelib.contents.memory import MemoryKeys, MemoryPieces
from chalicelib.contents.store import DynamoPieces
from chalicelib.dialects.apply_guardrail import ApplyGuardrail, Unanswered, Verdict
from chalicelib.documents import Documents
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.documents.store import DynamoDocuments
from chalicelib.dynamodb import Tables
from chalicelib.egress import Egress
from chalicelib.engines import Engine
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.engines.scripted import ScriptedEngine, Step, whole, words
from chalicelib.http.bridge import Bridge, Iam
from chalicelib.http.protocol import Connections
from chalicelib.http.server import config
from chalicelib.identity import ApiKey
from chalicelib.identity.signin.exchange import SignIn
from chalicelib.identity.tokens.discovery import Discovery
from chalicelib.identity.tokens.keysets import KeySets
from chalicelib.identity.tokens.verified import Tokens
from chalicelib.inference import Ask, Path, run
from chalicelib.journal import Journal
from chalicelib.ledger.memory import MemoryHeads, MemoryLedger
from chalicelib.ledger.store import DynamoHeads, DynamoLedger
from chalicelib.placement import Placement
from chalicelib.placement.health import Health
from chalicelib.placement.report import Reports
from chalicelib.placement.watch import StoredWatch
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.settings import Settings
from chalicelib.sight import Telemetry
from chalicelib.sight.bounded import Bounded
from chalicelib.sight.lines import Lines
from chalicelib.status.board import Boards
from chalicelib.status.memory import MemoryDays
from chalicelib.status.samples import Days
from chalicelib.status.store import DynamoDays
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.set_limits import set_limits
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tenancy.tenant import Issuer, Role, Scopes, Tenant
from chalicelib.tickets import Tickets
from chalicelib.usage import Rollups, Usage
from chalicelib.usage.memory import MemoryRollups
from chalicelib.usage.store import DynamoRollups
from chalicelib.velocity import Velocity
from chalicelib.velocity.memory import MemoryWindows
from chalicelib.velocity.store import DynamoWindows
from chalicelib.wiring import Rooms
from guard import Rules
from tests.patience import PATIENCE_S
from tests.prompt_server import PromptServer

TICKET_KEY = bytes(range(32))
OPERATOR = "arn:aws:iam::123456789012:user/ops"  # who signs in tests/api/signing.py
T0 = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC

Script = Callable[[Target, Call], Iterable[Step]]


class Hands:
    """A clock that moves when it is moved."""

    def __init__(self, now_ms: int = T0) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Chance:
    """Randomness: the same bytes in every run, never twice in one. Thread-safe."""

    def __init__(self) -> None:
        self._count = count()

    def __call__(self, size: int) -> bytes:
        return hashlib.shake_256(str(next(self._count)).encode()).digest(size)


def _nobody(*_: object) -> Verdict:
    raise Unanswered("nobody to ask")


class Store(msgspec.Struct, frozen=True):
    """What all gateways of a deployment share."""

    documents: Documents
    meters: MemoryMeters | DynamoMeters
    keeping: Keeping
    ledger: MemoryLedger | DynamoLedger
    heads: MemoryHeads | DynamoHeads
    pieces: MemoryPieces | DynamoPieces
    windows: MemoryWindows | DynamoWindows
    days: Days
    rollups: Rollups = msgspec.field(default_factory=MemoryRollups)


def memory() -> Store:
    meters = MemoryMeters()
    keeping = MemoryKeeping(meters)
    pieces, windows, days = MemoryPieces(), MemoryWindows(), MemoryDays()
    return Store(MemoryDocuments(), meters, keeping, MemoryLedger(), MemoryHeads(), pieces, windows, days)


def dynamodb(tables: Tables) -> Store:
    region = Settings().region
    meters, keeping = DynamoMeters(tables, region), DynamoKeeping(tables, region)
    ledger, heads = DynamoLedger(tables), DynamoHeads(tables)
    pieces, windows, days = DynamoPieces(tables), DynamoWindows(tables), DynamoDays(tables, region)
    return Store(DynamoDocuments(tables), meters, keeping, ledger, heads, pieces, windows, days, DynamoRollups(tables))


class Deployment:
    """One store, one scripted engine, one clock."""

    def __init__(
        self, store: Store | None = None, script: Script | None = None, engine: ScriptedEngine | None = None
    ) -> None:
        self.store = store or memory()
        self.models: tuple[FoundationModel, ...] = ()
        self.kinds: tuple[str, ...] = ("scripted",)  # of targets, that the engine stands for
        self.engines: Mapping[str, Engine[Any]] = {}  # of other kinds
        self.telemetry: Telemetry = Bounded(Lines())
        self.issuers: tuple[Issuer, ...] = ()  # the operator's
        self.apply_guardrail: ApplyGuardrail | None = None  # Bedrock's
        self.callable_origins: tuple[str, ...] = ()
        self.public_url = ""  # where browsers find it
        self.browser_client_id = ""
        self.clock = Hands()
        self.chance = Chance()
        self.engine = engine or ScriptedEngine(script or _names_its_target)
        self.tenancy = self._tenancy()
        apart = Chance()  # a deployment's ids do not depend on what it keeps
        keys = DataKeys(self.store.documents, MemoryKeys(apart), self.clock)
        self.contents: Contents | None = Contents(self.store.pieces, keys, self.clock, apart)

    def path(self) -> Path:
        """One more gateway process, as far as caches are concerned."""
        settings = Settings(break_glass_principals=OPERATOR, public_url=self.public_url)
        tokens = Tokens(KeySets(Discovery(Egress(self.callable_origins))), self.issuers)
        engines = {**dict.fromkeys(self.kinds, self.engine), **self.engines}
        return Path(
            settings=settings,
            clock=self.clock,
            randomness=self.chance,
            snapshots=Snapshots(self.store.documents, self.store.meters),
            admission=Admission(
                self.store.meters,
                self.store.ledger,
                lease_ms=settings.lease_ms,
                region=settings.region,
                spread=self._divisible().spread,
            ),
            ledger=self.store.ledger,
            first_uses=self.store.ledger,
            placement=Placement(
                engines,
                Health(settings, StoredWatch(self.store.documents, self.telemetry)),
                self.clock,
                patience_ms=30_000,
            ),
            tickets=Tickets(lambda: TICKET_KEY, self.clock),
            telemetry=self.telemetry,
            tokens=lambda: tokens,
            velocity=Velocity(self.store.windows, self.store.documents),
            apply_guardrail=lambda: self.apply_guardrail or _nobody,
        )

    def rooms(self, path: Path | None = None, tenancy: Tenancy | None = None) -> Rooms:
        path = path or self.path()
        tenancy = tenancy or self._tenancy(path.admission.forget)
        apart = Chance()  # as of `contents`
        store, region = self.store, Settings().region
        reports = Reports(store.documents, region, self.clock, Settings().health_max_age_ms, patience_s=PATIENCE_S)
        return Rooms(
            path,
            tenancy,
            self.store.heads,
            Journal(self.store.ledger, self.clock, apart),
            reports,
            models=lambda _target: self.models,
            contents=lambda: self.contents,
            sign_in=cache(lambda: self._sign_in(path)),
            boards=cache(lambda: Boards(store.documents, store.days, region, self.clock, ())),
            usage=lambda: Usage(self.store.ledger, self.store.rollups),
        )

    def _sign_in(self, path: Path) -> SignIn | None:
        if not self.browser_client_id:
            return None
        egress = Egress(self.callable_origins)
        return SignIn(self.issuers[0], self.browser_client_id, self.public_url, egress, path.tokens)

    def _tenancy(self, on_change: Callable[[str], None] = lambda _tenant: None) -> Tenancy:
        divisible = self._divisible()

        def divide(tenant: str, limits: Limits) -> None:
            if shards_of(limits) > 1:
                divisible.divide(tenant)

        return Tenancy(self.store.documents, divisible, self.clock, self.chance, on_change, divide)

    def _divisible(self) -> Divisible:
        limits_of = set_limits(self.store.documents)
        return Divisible(self.store.meters, lambda: self.store.keeping, limits_of, self.clock, lambda: 0, self.clock)

    def pool(self, name: str = "model-a", *targets: str, sealed: bool = False) -> Pool:
        """A pool whose first target gets every call, unless it is pinned elsewhere."""
        known = [Scripted(target, url=target, weight=int(not place)) for place, target in enumerate(targets or "a")]
        return self.tenancy.put_pool(Pool(name, tuple(known), sealed=sealed))

    def tenant(self, name: str = "acme", **members: Any) -> Tenant:
        with_limits = {"limits": DEFAULT_LIMITS, "pools": ("model-a",), **members}
        return self.tenancy.create_tenant(Tenant(id=name, name=name.title(), **with_limits))

    def key(
        self,
        tenant: str = "acme",
        role: Role = "owner",
        *,
        expires_ms: int | None = None,
        member: str | None = None,
        guardrails: Rules | None = None,
        **scopes: Any,
    ) -> str:
        """The text of a new API key."""
        narrowed = Scopes(**scopes)
        _, text = self.tenancy.create_key(
            tenant, role, scopes=narrowed, expires_ms=expires_ms, member=member, guardrails=guardrails
        )
        return text.text

    def ask(self, path: Path, key: str | None, *, tenant: str | None = None, pool: str = "model-a") -> str:
        """One small inference, to its end: the target that ran it. Raises what `run` raises."""
        messages = msgspec.Raw(b'[{"role":"user","content":"hi"}]')
        ask = Ask(
            credential=ApiKey(key) if key else None,
            tenant=tenant,
            surface="native",
            operation="chat.completions",
            pool=pool,
            fields={"messages": messages},
            request_id="test",
            max_tokens=8,
        )
        with run(ask, path) as answer:
            list(answer)
            return answer.instance


def _names_its_target(target: Target, call: Call) -> Iterable[Step]:
    said = f"from {target.name}"
    return words(said, instance=target.name) if call.stream else whole(said, instance=target.name)


class Answer(NamedTuple):
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gateway:
    """An HTTP server somewhere on this machine. Every call is a connection of its own, unless they are `kept`."""

    def __init__(self, host: str, port: int, *, kept: bool = False) -> None:
        self.host = host
        self.port = port
        self._kept = kept
        self._idle: list[HTTPConnection] = []

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, sent as it is given: nothing is encoded or normalised on the way."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if json is not None:
            body = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        connection = self._connection()
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            told = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except BaseException:
            connection.close()
            raise
        if self._kept and connection.sock is not None:  # it is None where the server closes, and says so
            self._idle.append(connection)
        else:
            connection.close()
        return told

    def _connection(self) -> HTTPConnection:
        """An idle one at which nothing has arrived: not the end either, which a server may send at any time."""
        while self._idle:
            connection = self._idle.pop()
            arrived = select.poll()
            arrived.register(connection.sock, select.POLLIN)
            if not arrived.poll(0):
                return connection
            connection.close()
        return HTTPConnection(self.host, self.port, timeout=PATIENCE_S)

    def close(self) -> None:
        """What is idle."""
        while self._idle:
            self._idle.pop().close()


@contextmanager
def served(
    bridge: Bridge,
    certificate: FilePath | None = None,
    connections: Connections = Connections(),  # noqa: B008
    *,
    kept: bool = False,
) -> Iterator[Gateway]:
    """The bridge under uvicorn as we run it, in a thread; over TLS with a certificate and its key.

    `kept`: calls use connections again, which is for tests that are not about connections and saves them half.
    """
    server = PromptServer(config(bridge, connections=connections, host="127.0.0.1", port=0, ssl_certfile=certificate))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        assert server.up.wait(PATIENCE_S), "the server did not start"
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        gateway = Gateway(host, port, kept=kept)
        yield gateway
        gateway.close()
    finally:
        server.stop()
        thread.join(PATIENCE_S)


def front(iam: Iam | None = None) -> Bridge:
    """The bridge in front of the real app; which rooms it opens into is `wiring.opening_into`'s to say."""
    from app import app

    return Bridge(app, Settings().body_limit_bytes, {}, iam)
