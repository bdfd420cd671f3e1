"""Which implementation stands behind which protocol. Lazy: a sandbox builds what its first request needs."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from chalicelib import settings as environment
from chalicelib.admission import Admission, DynamoMeters
from chalicelib.engines import Engine
from chalicelib.inference.house import House
from chalicelib.ledger import DynamoLedger
from chalicelib.placement.health import Health
from chalicelib.settings import Settings
from chalicelib.tables import Tables, open_tables
from chalicelib.telemetry import LogTelemetry
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.snapshot import Offering, Snapshots
from chalicelib.tenancy.store import DynamoDocuments


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
def tenancy() -> Tenancy:
    return Tenancy(documents(), meters(), clock, secrets.token_bytes)


@cache
def offering() -> Offering:
    return Offering(documents(), clock, settings().health_max_age_ms)


@cache
def house() -> House:
    ledger = DynamoLedger(tables())
    engines = Engines()
    return House(
        settings=settings(),
        clock=clock,
        randomness=secrets.token_bytes,
        snapshots=Snapshots(documents(), meters()),
        meters=meters(),
        admission=Admission(meters(), ledger, lease_ms=settings().lease_ms, region=settings().region),
        ledger=ledger,
        claims=ledger,
        engines=engines,
        health=Health(engines, settings()),
        telemetry=LogTelemetry(),
    )


def _openai_compatible() -> Engine:
    from chalicelib.engines.openai_compatible import OpenAICompatible

    return OpenAICompatible(settings())


def _sagemaker() -> Engine:
    from chalicelib.engines.sagemaker import SageMaker

    return SageMaker(settings())


ENGINES: dict[str, Callable[[], Engine]] = {
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
