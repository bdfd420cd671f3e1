"""Which implementation stands behind which protocol. Lazy: a sandbox builds what its first request needs."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from chalicelib import settings as environment
from chalicelib.admission import Admission, DynamoMeters
from chalicelib.documents.store import DynamoDocuments
from chalicelib.engines import Engine
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.inference.house import House
from chalicelib.ledger import DynamoHeads, DynamoLedger
from chalicelib.ledger.store import RETENTION_DAYS
from chalicelib.placement.health import Health
from chalicelib.pool import Target
from chalicelib.refusal import NotFound
from chalicelib.settings import Settings
from chalicelib.tables import Tables, open_tables
from chalicelib.telemetry import LogTelemetry
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.snapshot import Offering, Snapshots
from chalicelib.tickets import Tickets
from chalicelib.tickets.secret import TicketKey

if TYPE_CHECKING:
    from chalicelib.engines.bedrock.catalogue import Catalogue
    from chalicelib.engines.bedrock.engine import Bedrock

Models = Callable[[Target], tuple[FoundationModel, ...]]


class Rooms(msgspec.Struct, frozen=True):
    """What the doors open into."""

    house: House
    tenancy: Tenancy
    offering: Offering
    models: Models  # those that a Bedrock target has


def house() -> House:
    return _rooms().house


def tenancy() -> Tenancy:
    return _rooms().tenancy


def offering() -> Offering:
    return _rooms().offering


def models() -> Models:
    return _rooms().models


@contextmanager
def furnished(rooms: Rooms) -> Iterator[None]:
    """For as long as it is entered, the doors of this process open into these rooms: others than AWS's, or a test's."""
    global _rooms
    before = _rooms
    _rooms = lambda: rooms  # noqa: E731
    try:
        yield
    finally:
        _rooms = before


def clock() -> int:
    return time.time_ns() // 1_000_000


@cache
def settings() -> Settings:
    return environment.read(os.environ)


@cache
def tables() -> Tables:
    return open_tables(settings().region, settings().table_prefix, settings().store_deadline_ms)


@cache
def meters() -> DynamoMeters:
    return DynamoMeters(tables(), settings().region)


@cache
def documents() -> DynamoDocuments:
    return DynamoDocuments(tables())


@cache
def _on_aws() -> Rooms:
    return Rooms(
        house=_house(),
        tenancy=Tenancy(documents(), meters(), clock, secrets.token_bytes),
        offering=Offering(documents(), clock, settings().health_max_age_ms),
        models=_models,
    )


_rooms: Callable[[], Rooms] = _on_aws


def _house() -> House:
    snapshots = Snapshots(documents(), meters())

    def retention_days(tenant: str) -> int:
        # On the path of a request the snapshot is there; only the reaper may have to read one.
        try:
            return snapshots.cached(tenant).tenant.retention_days
        except NotFound:
            return RETENTION_DAYS

    ledger = DynamoLedger(tables(), retention_days)
    engines = Engines()
    return House(
        settings=settings(),
        clock=clock,
        randomness=secrets.token_bytes,
        snapshots=snapshots,
        meters=meters(),
        admission=Admission(meters(), ledger, lease_ms=settings().lease_ms, region=settings().region),
        ledger=ledger,
        claims=ledger,
        heads=DynamoHeads(tables()),
        engines=engines,
        health=Health(engines, settings()),
        telemetry=LogTelemetry(),
        tickets=Tickets(TicketKey(settings()), clock),
    )


def sign_heads() -> int:
    """Sign the ledger's days that are over; how many heads that made.

    Raises: StoreUnavailable, CannotSign; after having tried every tenant.
    """
    if not settings().audit_key:
        return 0
    from chalicelib.ledger.notary import Notary
    from chalicelib.ledger.signature import KmsSignature

    notary = Notary(house().ledger, house().heads, KmsSignature(settings()))
    return notary.sign_due([tenant.id for tenant in tenancy().tenants()], house().clock())


def _openai_compatible() -> Engine:
    from chalicelib.engines.openai_compatible import OpenAICompatible

    return OpenAICompatible(settings())


def _sagemaker() -> Engine:
    from chalicelib.engines.sagemaker import SageMaker

    return SageMaker(settings())


@cache
def _bedrock() -> "Bedrock":
    from chalicelib.engines.bedrock.engine import Bedrock
    from chalicelib.tenancy.inference_profiles import InferenceProfiles

    return Bedrock(settings(), InferenceProfiles(documents()))


@cache
def _catalogue() -> "Catalogue":
    from chalicelib.engines.bedrock.catalogue import Catalogue
    from chalicelib.engines.transport.http_body import monotonic_ms

    return Catalogue(_bedrock(), monotonic_ms)


def _models(target: Target) -> tuple[FoundationModel, ...]:
    return _catalogue().models(target)


ENGINES: dict[str, Callable[[], Engine]] = {
    "bedrock": _bedrock,
    "openai_compatible": _openai_compatible,
    "sagemaker": _sagemaker,
}


class Engines(Mapping[str, Engine]):
    """Every engine, each imported and built when the first call needs it."""

    def __getitem__(self, kind: str) -> Engine:
        return _engine(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(ENGINES)

    def __len__(self) -> int:
        return len(ENGINES)


@cache
def _engine(kind: str) -> Engine:
    return ENGINES[kind]()
