"""What the schedules do. Each tells when it has done it: whoever watches notices that one no longer does."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib import wiring
from chalicelib.journal import log_of
from chalicelib.refusal import StoreUnavailable
from chalicelib.tenancy import PLATFORM_TENANT

if TYPE_CHECKING:
    from chalicelib.status.publishing import Publisher
    from chalicelib.usage import Roller


def reap() -> int:
    """Finish the leases of requests whose sandbox died; how many. Raises StoreUnavailable."""
    here = wiring.path()
    finished = here.admission.reap(here.clock())
    if finished:
        here.telemetry.count("LeasesAbandoned", here.clock(), leases=finished)
    here.telemetry.count("ReaperRan", here.clock())
    return finished


def ask_targets() -> None:
    """Ask every target that is awake how it is, and keep what they say, for `/health` and `/status`.

    Raises StoreUnavailable.
    """
    here, pools = wiring.path(), wiring.tenancy().pools()
    look = here.placement.look(pools)
    wiring.reports().keep(look.report)
    if (boards := wiring.boards()) is not None:
        from chalicelib.status.rounds import sample_minute

        sample_minute(boards, here.settings, here.placement, pools, look, here.clock())
    here.telemetry.count("ProberRan", here.clock())


def publish_status() -> dict[str, int]:
    """Put the status page where it outlives us, and mail who wants to hear; how many files and mails that made.

    Raises: StoreUnavailable, NotPublished, Paused; after having tried both.
    """
    here, boards, publisher = wiring.path(), wiring.boards(), _publisher()
    done = {"published": 0, "mailed": 0}
    if boards is None:
        return done
    try:
        if publisher is not None:
            done["published"] = int(publisher.publish(boards.read()))
    finally:
        if here.settings.mail_sender:
            from chalicelib.status.rounds import mail_round

            done["mailed"] = mail_round(boards, here.settings, here.randomness, here.clock)
    if publisher is not None or here.settings.mail_sender:
        here.telemetry.count("PublisherRan", here.clock())
    return done


def sign_heads() -> int:
    """Sign the ledger's days that are over; how many heads that made. Without a key none.

    Raises: StoreUnavailable, CannotSign; after having tried every tenant.
    """
    settings, here = wiring.settings(), wiring.path()
    if not settings.audit_key:
        here.telemetry.count("NotaryRan", here.clock(), heads=0)
        return 0
    from chalicelib.ledger.signature import KmsSignature

    return sign_heads_by(KmsSignature(settings))


def sign_heads_by(sign: Callable[[bytes], bytes]) -> int:
    """`sign`: see Notary, and for what is raised `sign_heads`."""
    from chalicelib.ledger.notary import CannotSign, Notary

    here = wiring.path()
    try:
        tenants = [tenant.id for tenant in wiring.tenancy().tenants()]
        logs = [*tenants, *(log_of(tenant) for tenant in dict.fromkeys((*tenants, PLATFORM_TENANT)))]
        signed = Notary(here.ledger, wiring.heads(), sign).sign_due(logs, here.clock())
    except (StoreUnavailable, CannotSign) as error:
        here.telemetry.count("NotaryFailed", here.clock(), error=type(error).__name__)
        raise
    here.telemetry.count("NotaryRan", here.clock(), heads=signed)
    return signed


def roll_up() -> int:
    """Write the roll-ups of usage that are due; how many. Raises StoreUnavailable, NoUsageTable."""
    return roll_up_by(_roller())


def roll_up_by(roller: "Roller") -> int:
    """As `roll_up`."""
    here = wiring.path()
    written = roller.run(lambda: [tenant.id for tenant in wiring.tenancy().tenants()], here.clock())
    here.telemetry.count("UsageRan", here.clock(), rollups=written)
    return written


class CountAgain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which closed hours an operator wants to be counted once more."""

    tenant: str
    since_ms: int
    until_ms: int


def count_again(wanted: Mapping[str, Any]) -> int:
    """How many roll-ups that wrote. Raises msgspec.ValidationError, StoreUnavailable, NoUsageTable."""
    asked = msgspec.convert(wanted, CountAgain)
    return _roller().count_again(asked.tenant, asked.since_ms, asked.until_ms)


def _roller() -> "Roller":
    from chalicelib.ledger.store import DynamoLedger
    from chalicelib.usage import Roller
    from chalicelib.usage.store import DynamoRollups

    ledger = DynamoLedger(wiring.tables())
    return Roller(ledger, ledger, DynamoRollups(wiring.tables()))


@cache
def _publisher() -> "Publisher | None":
    """Of the status page; None where the deployment names no bucket for it."""
    settings = wiring.settings()
    if not settings.status_bucket:
        return None
    from chalicelib.status.aws import AwsService
    from chalicelib.status.publishing import Publisher

    return Publisher(AwsService("s3", "s3", settings.region), settings.status_bucket)


def erase(patience_ms: int = 600_000) -> int:
    """Go on with the erasures that tenants asked for, for so long at most; how many are done by it.

    Raises StoreUnavailable.
    """
    from chalicelib.dynamodb import open_tables
    from chalicelib.privacy.eraser import Eraser
    from chalicelib.privacy.items import Items
    from chalicelib.privacy.records import Erasures

    given = wiring.settings()
    regions = {
        region: Items(open_tables(region, given.table_prefix, given.store_deadline_ms))
        for region in (given.region, *given.other_regions)
    }
    tenancy = wiring.tenancy()
    eraser = Eraser(regions, Erasures(tenancy.documents), tenancy.closing.close, wiring.clock)
    return eraser.run(wiring.clock() + patience_ms)
