"""A round of the schedule, for the status page: what is asked, and by which addresses."""

from collections.abc import Iterable

from chalicelib.clock import Clock
from chalicelib.egress import Egress
from chalicelib.identity.tokens.discovery import WELL_KNOWN
from chalicelib.placement import Look, Placement
from chalicelib.pool import Pool
from chalicelib.randomness import Randomness
from chalicelib.settings import Settings
from chalicelib.status.asking import Questions
from chalicelib.status.board import Boards
from chalicelib.status.probing import Asked, sample


def sample_minute(
    boards: Boards, settings: Settings, placement: Placement, pools: Iterable[Pool], look: Look, now_ms: int
) -> None:
    """Keep what was found in this minute. `look`: at the targets of these pools. Raises StoreUnavailable."""
    own = (settings.public_origin,) if settings.public_origin else ()
    questions = Questions(
        Egress((*settings.callable_origins, *own)),
        lambda pool: placement.time_answer(pool, f"status-{now_ms}"),
        {
            "api": f"{settings.public_url}/ready" if settings.public_url else "",
            "sign_in": settings.issuer.rstrip("/") + WELL_KNOWN if settings.issuer else "",
        },
    )
    well = {place: capacity is not None for place, capacity in look.said.items()}
    sample(boards, questions, Asked({pool.name: pool for pool in pools}, well), now_ms)


def mail_round(boards: Boards, settings: Settings, random: Randomness, clock: Clock) -> int:
    """Mail who is to be asked, and who is to hear; how many mails. Raises Paused, StoreUnavailable."""
    from chalicelib.status.aws import AwsService
    from chalicelib.status.mailing import Mailer, Round

    mailer = Mailer(AwsService("sesv2", "ses", settings.region), settings.mail_sender, settings.public_url)
    return Round(boards.documents, mailer, random, clock).run(boards.incidents.all())
