"""The path of a request, on one screen: identify, admit, place, run, settle.

On a warm sandbox an answered request costs three DynamoDB calls (admit: UpdateItem; settle: PutItem and
UpdateItem) and no read. What a cached snapshot refuses is decided again on a fresh one before the caller
hears of it; what it allows is proved current by the admission write itself.
"""

from functools import partial

from chalicelib.admission import Lease, LeaseLost, StaleEpoch, new_lease_id
from chalicelib.identity import Reading, holder, iam_principal, identify
from chalicelib.identity.principal import Principal
from chalicelib.inference.answer import Answer, Ending, reason_of
from chalicelib.inference.house import House
from chalicelib.inference.idempotency import claim
from chalicelib.inference.plan import Ask, Plan, plan
from chalicelib.inference.sealed import must_be_new, must_be_possessed, with_ticket
from chalicelib.inference.settlement import settle
from chalicelib.ledger import RANDOM_BITS
from chalicelib.placement.place import place
from chalicelib.refusal import EngineFailed, Forbidden, Malformed, NoCapacity, NotFound, NotOpened, Unauthenticated
from chalicelib.tables import StoreUnavailable
from chalicelib.tenancy.snapshot import Snapshot

__all__ = ["Answer", "Ask", "House", "run"]


def run(ask: Ask, house: House) -> Answer:
    """One inference call, from a credential to a running answer that settles itself when it is closed.

    Raises: Refusal, StoreUnavailable. Nothing is held then, and what had been admitted has its entry.
    """
    planned, lease = _admitted(ask, house)  # identify, admit: one conditional write
    target = None
    try:
        if ask.idempotency_key is not None:
            claim(ask.idempotency_key, lease, house.claims, house.ledger, house.meters)
        if planned.sealed is not None:
            must_be_new(planned, lease, house)
            planned = with_ticket(planned, house)
        target, stream, first = place(
            planned.pool,
            planned.pin,
            planned.call,
            house.engines,
            house.health,
            house.clock,
            patience_ms=house.settings.lease_ms - house.settings.idle_deadline_ms,
        )
        return Answer(
            lease,
            first,
            stream,
            prompt_tokens=planned.call.prompt_tokens,
            clock=house.clock,
            renew_ms=house.settings.renew_ms,
            deadline_ms=house.settings.answer_deadline_ms,
            renew=partial(_renewed, house),
            settle=lambda held, ending: settle(planned, held, target, ending, house),
        )
    except BaseException as error:
        settle(planned, lease, target, Ending(reason_of(error), None, 0), house)
        raise


def _admitted(ask: Ask, house: House) -> tuple[Plan, Lease]:
    """The plan and its lease, both true at one epoch."""
    try:
        return _try_admitting(ask, house.snapshots.cached, house)
    except (StaleEpoch, Unauthenticated, Forbidden, NotFound, NotOpened, Malformed):
        pass  # said on the word of a cached snapshot; a limit's denial was the meter's own word, and stands
    for _ in range(3):
        try:
            return _try_admitting(ask, house.snapshots.fresh, house)
        except StaleEpoch:
            continue
    raise NoCapacity("The tenant is being changed too quickly. Try again.", retry_in_ms=100)


def _try_admitting(ask: Ask, reading: Reading, house: House) -> tuple[Plan, Lease]:
    principal, snapshot = _caller(ask, house, reading)
    planned = plan(ask, principal, snapshot)
    if principal.proof == "kms":
        must_be_possessed(planned, house)  # before the meter: no stranger uses up the tenant's rates
    now_ms = house.clock()
    lease = house.admission.admit(
        tenant=principal.tenant,
        epoch=snapshot.epoch,
        limits=snapshot.tenant.limits,
        units=planned.reservation,
        lease_id=new_lease_id(now_ms, int.from_bytes(house.randomness(8)) >> (64 - RANDOM_BITS)),
        now_ms=now_ms,
    )
    return planned, lease


def _caller(ask: Ask, house: House, reading: Reading) -> tuple[Principal, Snapshot]:
    if ask.iam_arn is not None:
        return iam_principal(ask.iam_arn, house.snapshots, reading)
    if ask.credential is None and ask.sealed is not None and ask.sealed.mode != "hpke":
        return holder(ask.sealed.key_arn, ask.tenant, reading)
    return identify(ask.credential, ask.tenant, house.snapshots, reading, house.clock())


def _renewed(house: House, lease: Lease) -> Lease:
    now_ms = house.clock()
    try:
        return house.admission.renew(lease, now_ms)
    except LeaseLost:
        raise EngineFailed("The request was given up on, because it had not been heard of for too long.") from None
    except StoreUnavailable:
        if now_ms < lease.expires_ms:
            return lease
        raise
