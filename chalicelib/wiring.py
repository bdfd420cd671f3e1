"""Which implementation stands behind which protocol. Lazy: a sandbox builds what its first request needs."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib import settings as environment
from chalicelib.admission import Admission, Epochs, Limits
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.store import DynamoMeters
from chalicelib.documents.store import DynamoDocuments
from chalicelib.dynamodb import Tables, open_tables
from chalicelib.engines import Engine
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.inference.path import Path
from chalicelib.journal import Journal
from chalicelib.ledger import Heads
from chalicelib.ledger.store import RETENTION_DAYS, DynamoHeads, DynamoLedger
from chalicelib.placement import Placement
from chalicelib.placement.health import Health
from chalicelib.placement.report import Reports
from chalicelib.placement.watch import StoredWatch
from chalicelib.pool import Bedrock
from chalicelib.randomness import for_ids
from chalicelib.refusal import NotFound
from chalicelib.settings import Settings
from chalicelib.sight.chosen import telemetry as chosen_telemetry
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tenancy.tenant import Issuer
from chalicelib.tickets import Tickets
from chalicelib.velocity import Velocity
from chalicelib.velocity.store import DynamoWindows

if TYPE_CHECKING:
    from chalicelib.admission.shares.keeping import Keeping
    from chalicelib.contents import Contents
    from chalicelib.egress import Egress
    from chalicelib.engines.bedrock.catalogue import Catalogue
    from chalicelib.engines.bedrock.engine import BedrockEngine
    from chalicelib.identity.signin.exchange import SignIn
    from chalicelib.identity.tokens.verified import Tokens
    from chalicelib.passwords import Passwords
    from chalicelib.status.board import Boards
    from chalicelib.tickets.secret import TicketKey
    from chalicelib.usage import Usage

Models = Callable[[Bedrock], tuple[FoundationModel, ...]]


class Rooms(msgspec.Struct, frozen=True):
    """What the doors open into."""

    path: Path
    tenancy: Tenancy
    heads: Heads
    journal: Journal
    reports: Reports
    models: Models  # those that a Bedrock target has
    contents: Callable[[], "Contents | None"] = lambda: None  # None: nothing is kept here
    passwords: Callable[[], "Passwords | None"] = lambda: None  # None: nobody signs in with one here
    sign_in: Callable[[], "SignIn | None"] = lambda: None  # None: nobody signs in here
    boards: Callable[[], "Boards | None"] = lambda: None  # None: nobody keeps how it stood
    usage: Callable[[], "Usage | None"] = lambda: None  # None: nobody sums it here


def rooms() -> Rooms:
    return _rooms()


def path() -> Path:
    return _rooms().path


def tenancy() -> Tenancy:
    return _rooms().tenancy


def heads() -> Heads:
    return _rooms().heads


def journal() -> Journal:
    return _rooms().journal


def reports() -> Reports:
    return _rooms().reports


def models() -> Models:
    return _rooms().models


def contents() -> "Contents | None":
    """What tenants asked to be kept; None where the deployment has no key for it."""
    return _rooms().contents()


def passwords() -> "Passwords | None":
    """Signing in with one; None where the deployment names no client of its issuer for that."""
    return _rooms().passwords()


def sign_in() -> "SignIn | None":
    """Of browsers; None where the deployment has no page for it."""
    return _rooms().sign_in()


def boards() -> "Boards | None":
    """How the service stands and stood; None where nobody keeps that."""
    return _rooms().boards()


def usage() -> "Usage | None":
    return _rooms().usage()


@contextmanager
def opening_into(rooms: Rooms) -> Iterator[None]:
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
def _divisible() -> Divisible:
    return _divisible_in(meters(), tables(), settings().region)


def _divisible_in(meters: DynamoMeters, tables: Tables, region: str) -> Divisible:
    def keeping() -> "Keeping":
        from chalicelib.admission.shares.store import DynamoKeeping

        return DynamoKeeping(tables, region)

    def limits_of(tenant: str) -> tuple[Limits, int]:
        from chalicelib.tenancy.set_limits import set_limits

        return set_limits(documents())(tenant)

    return Divisible(meters, keeping, limits_of, clock, lambda: secrets.randbits(64))


@cache
def _regions() -> Mapping[str, Divisible]:
    """Those beside this one."""
    prefix, deadline_ms = settings().table_prefix, settings().store_deadline_ms
    found = {region: open_tables(region, prefix, deadline_ms) for region in settings().other_regions}
    return {region: _divisible_in(DynamoMeters(there, region), there, region) for region, there in found.items()}


@cache
def epochs() -> Epochs:
    if not settings().other_regions:
        return _divisible()
    from chalicelib.admission.regions import EveryRegion

    return EveryRegion(_divisible(), _regions())


def _divide(tenant: str, limits: Limits) -> None:
    """Where these limits ask for more than one meter, there are to be as many. Raises StoreUnavailable."""
    from chalicelib.admission.shares.arithmetic import shards_of

    if shards_of(limits) > 1:
        for each in (_divisible(), *_regions().values()):
            each.divide(tenant)


@cache
def documents() -> DynamoDocuments:
    return DynamoDocuments(tables())


@cache
def _on_aws() -> Rooms:
    path = _path()
    return Rooms(
        path=path,
        tenancy=Tenancy(documents(), epochs(), clock, secrets.token_bytes, path.admission.forget, _divide),
        heads=DynamoHeads(tables()),
        journal=Journal(DynamoLedger(tables()), clock, secrets.token_bytes),
        reports=Reports(documents(), settings().region, clock, settings().health_max_age_ms),
        models=lambda target: _catalogue().models(target),
        contents=_contents,
        passwords=_passwords,
        sign_in=_sign_in,
        boards=_boards,
        usage=_usage,
    )


_rooms: Callable[[], Rooms] = _on_aws


def _path() -> Path:
    snapshots = Snapshots(documents(), meters())

    def retention_days(tenant: str) -> int:
        # On the path of a request the snapshot is there; only the reaper may have to read one.
        try:
            return snapshots.cached(tenant).tenant.retention_days
        except NotFound:
            return RETENTION_DAYS

    ledger = DynamoLedger(tables(), retention_days, clock=clock)
    telemetry = chosen_telemetry(settings())
    placement = Placement(
        Engines(),
        Health(settings(), StoredWatch(documents(), telemetry)),
        clock,
        patience_ms=settings().lease_ms - settings().idle_deadline_ms,
    )
    return Path(
        settings=settings(),
        clock=clock,
        randomness=for_ids(secrets.token_bytes),
        snapshots=snapshots,
        admission=Admission(
            meters(),
            ledger,
            lease_ms=settings().lease_ms,
            region=settings().region,
            spread=lambda admission: _divisible().spread(admission),
        ),
        ledger=ledger,
        first_uses=ledger,
        placement=placement,
        tickets=Tickets(lambda: _ticket_key()(), clock),
        telemetry=telemetry,
        tokens=_tokens,
        velocity=Velocity(DynamoWindows(tables()), documents()),
        apply_guardrail=lambda: _bedrock().apply_guardrail,
    )


@cache
def egress() -> "Egress":
    """Calls to addresses that tenants name."""
    from chalicelib.egress import Egress

    return Egress(settings().callable_origins)


@cache
def _tokens() -> "Tokens":
    # Not at the top: it loads joserfc and cryptography, for which nobody waits who comes with a key.
    from chalicelib.identity.tokens.discovery import Discovery
    from chalicelib.identity.tokens.keysets import KeySets
    from chalicelib.identity.tokens.verified import Tokens

    return Tokens(KeySets(Discovery(egress())), [_issuer()] if settings().issuer else [])


def _issuer() -> Issuer:
    given = settings()
    return Issuer(given.issuer, given.audiences, given.client_ids, given.issuer_subject_claim, scopes=given.scopes)


@cache
def _sign_in() -> "SignIn | None":
    if not settings().browser_client_id:
        return None
    from chalicelib.identity.signin.exchange import SignIn

    return SignIn(_issuer(), settings().browser_client_id, settings().public_url, egress(), _tokens)


@cache
def _ticket_key() -> "TicketKey":
    # Not at the top: it loads botocore, for which no call but a sealed one should wait.
    from chalicelib.tickets.secret import TicketKey

    return TicketKey(settings())


@cache
def _contents() -> "Contents | None":
    if not settings().content_key:
        return None
    from chalicelib.contents import Contents
    from chalicelib.contents.data_keys import DataKeys
    from chalicelib.contents.kms import KmsKeys
    from chalicelib.contents.store import DynamoPieces

    keys = DataKeys(documents(), KmsKeys(settings()), clock)
    return Contents(DynamoPieces(tables()), keys, clock, secrets.token_bytes)


@cache
def _passwords() -> "Passwords | None":
    if not settings().signin_client_id:
        return None
    from chalicelib.passwords import Passwords
    from chalicelib.passwords.cognito import Cognito
    from chalicelib.passwords.store import DynamoAttempts

    issuer = Cognito(settings(), path().telemetry, clock)
    return Passwords(issuer, DynamoAttempts(tables()), path().verified, tenancy().people, clock)


@cache
def _boards() -> "Boards":
    from chalicelib.status.board import Boards
    from chalicelib.status.component import unless_told
    from chalicelib.status.store import DynamoDays

    given = settings()
    own = unless_told(public_url=given.public_url, issuer=given.issuer)
    return Boards(documents(), DynamoDays(tables(), given.region), given.region, clock, own)


def _usage() -> "Usage":
    from chalicelib.usage.store import usage_in

    return usage_in(tables(), path().ledger)


def _openai_compatible() -> Engine[Any]:
    from chalicelib.engines.openai_compatible import OpenAICompatibleEngine

    return OpenAICompatibleEngine(settings())


def _sagemaker() -> Engine[Any]:
    from chalicelib.engines.sagemaker import SageMakerEngine

    return SageMakerEngine(settings())


@cache
def _bedrock() -> "BedrockEngine":
    from chalicelib.engines.bedrock.engine import BedrockEngine
    from chalicelib.tenancy.inference_profiles import InferenceProfiles

    return BedrockEngine(settings(), InferenceProfiles(documents()))


@cache
def _catalogue() -> "Catalogue":
    from chalicelib.engines.bedrock.catalogue import Catalogue
    from chalicelib.engines.transport.bounds import monotonic_ms

    return Catalogue(_bedrock(), monotonic_ms)


ENGINES: dict[str, Callable[[], Engine[Any]]] = {
    "bedrock": _bedrock,
    "openai_compatible": _openai_compatible,
    "sagemaker": _sagemaker,
}


class Engines(Mapping[str, Engine[Any]]):
    """Every engine, each imported and built when the first call needs it."""

    def __getitem__(self, kind: str) -> Engine[Any]:
        return _engine(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(ENGINES)

    def __len__(self) -> int:
        return len(ENGINES)


@cache
def _engine(kind: str) -> Engine[Any]:
    return ENGINES[kind]()
