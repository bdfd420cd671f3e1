"""The path of a request, on one screen: identify, admit, place, run, settle.

On a warm sandbox an answered request costs three DynamoDB calls (admit: UpdateItem; settle: PutItem and
UpdateItem) and no read. What a cached snapshot refuses is decided again on a fresh one before the caller
hears of it; what it allows is proved current by the admission write itself.

    path    what all of it needs          plan          what is asked of an engine, and reserved: pure
    answer  the running call, metered     settlement    what it is charged, and its entry
    sealed  tickets, and who holds a key  idempotency   what must not come twice
    running streams, and what allows them               guarded       a tenant's rules, where it has some
    velocity     how many different prompts, keys and addresses      second        rules of Bedrock's, after those
"""

from collections.abc import Mapping

from chalicelib.admission import Lease, StaleEpoch, new_lease_id
from chalicelib.call import Watch, unwatched
from chalicelib.identity import identify
from chalicelib.identity.principal import Principal
from chalicelib.inference.answer import Answer, Ending, answer_of, reason_of
from chalicelib.inference.idempotency import claim
from chalicelib.inference.path import Path
from chalicelib.inference.plan import Ask, Plan, allowed_pool, plan
from chalicelib.inference.running import RunningStream
from chalicelib.inference.sealed import must_be_possessed, sealed_call
from chalicelib.inference.settlement import settle
from chalicelib.pool import Target
from chalicelib.refusal import ContentRefused, Forbidden, Malformed, NoCapacity, NotFound, NotOpened, Refusal
from chalicelib.tenancy.snapshot import Reading, Snapshot
from chalicelib.tenancy.sources import NetworkSource

__all__ = ["Answer", "Ask", "Path", "look_at_running", "run"]


def run(ask: Ask, path: Path) -> Answer:
    """One inference call, from a credential to a running answer that settles itself when it is closed.

    Raises: Refusal, StoreUnavailable. Nothing is held then, and what had been admitted has its entry.
    """
    planned, lease = _admit(ask, path)
    target = None
    try:
        if ask.idempotency_key is not None:
            claim(ask.idempotency_key, lease, path)
        call = planned.call if planned.sealed is None else sealed_call(planned, lease, path)
        target, stream, first = path.placement.place(
            planned.pool, planned.pin, call, _watch(planned, lease, ask.source, path)
        )
        answer = answer_of(
            stream, first, call, lease, path, settle=lambda held, ending: _settle(planned, held, target, ending, path)
        )
        if ask.stream:
            # What was asked is with its engine by now: a stream runs for minutes, and holds nothing of it.
            planned, ask = planned.forgotten(), ask.forgotten()
            path.running.add(lease.lease_id, _running(ask, planned, answer, path))
        return answer
    except BaseException as error:
        if isinstance(error, Refusal):
            error.admitted = True
        if planned.guarded and isinstance(error, Malformed | ContentRefused):
            from chalicelib.inference.guarded import judge_complaint, told_of_sealed  # only tenants with rules load it

            if isinstance(error, Malformed):
                judge_complaint(error, planned, path)
            elif planned.sealed is not None:
                told_of_sealed(error, lease.lease_id, planned, ask.source, path)
        settle(planned, lease, target, Ending(reason_of(error), None, 0), path)
        raise


def look_at_running(path: Path) -> bool:
    """End the streams that nothing allows any more; whether any goes on. One read for each tenant that has some."""
    try:
        path.running.look(lambda tenant: path.snapshots.fresh(tenant).epoch, path.clock())
    except Exception as error:  # a bug; nobody waits for this round who could be told of it
        path.telemetry.fault(error, path.clock())
    return len(path.running) > 0


def _watch(planned: Plan, lease: Lease, source: NetworkSource, path: Path) -> Watch:
    """Who judges the answer."""
    if not planned.guarded:
        return unwatched
    from chalicelib.inference.guarded import watch  # only tenants with rules load it, and keys limited to tools

    return watch(planned, lease.lease_id, source, path)


def _running(ask: Ask, planned: Plan, answer: Answer, path: Path) -> RunningStream:
    def judge() -> int:
        principal, snapshot = identify(
            ask.credential, ask.tenant, path.snapshots.cached, path.clock(), path.verified, ask.source
        )
        allowed_pool(ask, principal, snapshot)
        return snapshot.epoch

    principal = planned.principal
    return RunningStream(
        principal.tenant, planned.snapshot.epoch, principal.expires_ms, judge=judge, revoke=answer.revoke
    )


def _settle(planned: Plan, lease: Lease, target: Target, ending: Ending, path: Path) -> None:
    path.running.remove(lease.lease_id)
    settle(planned, lease, target, ending, path)


def _admit(ask: Ask, path: Path) -> tuple[Plan, Lease]:
    """The plan and its lease, both true at one epoch."""
    try:
        return _try_to_admit(ask, path.snapshots.cached, path)
    except (StaleEpoch, Forbidden, NotFound, NotOpened, Malformed, ContentRefused):
        # Said on the word of a cached snapshot. A limit's denial was the meter's own word, and stands; so does what a
        # stranger is told, who was looked for afresh.
        pass
    for _ in range(3):
        try:
            return _try_to_admit(ask, path.snapshots.fresh, path)
        except StaleEpoch:
            continue
        except ContentRefused as refused:
            from chalicelib.inference.guarded import told_of  # only tenants with rules load it

            told_of(refused, ask, path)
            raise
    raise NoCapacity("The tenant is being changed too quickly. Try again.", retry_in_ms=100)


def _try_to_admit(ask: Ask, reading: Reading, path: Path) -> tuple[Plan, Lease]:
    """Identify, and admit in one conditional write."""
    principal, snapshot = identify(ask.credential, ask.tenant, reading, path.clock(), path.verified, ask.source)
    planned = None
    try:
        planned = plan(ask, principal, snapshot)
        return _judge_and_admit(planned, ask, principal, snapshot, path)
    except Refusal as refusal:
        refusal.tenant, refusal.pool = principal.tenant, planned.pool.name if planned else ""
        raise


def _judge_and_admit(
    planned: Plan, ask: Ask, principal: Principal, snapshot: Snapshot, path: Path
) -> tuple[Plan, Lease]:
    found: Mapping[str, int] = {}
    if planned.guarded:
        from chalicelib.inference.guarded import judged  # only tenants with rules load it, and keys limited to tools

        planned, found = judged(planned, ask, path)
    if principal.proof == "kms":
        must_be_possessed(planned, path)  # before the meter: no stranger uses up the tenant's rates
    now_ms = path.clock()
    tenant = snapshot.tenant
    asks = path.velocity.reputation.known.asks_callers
    if tenant.velocity or tenant.own_velocity or tenant.key_velocity or found or asks:
        from chalicelib.inference.velocity import must_be_moderate  # only tenants with such rules load it

        must_be_moderate(planned, ask, found, path, now_ms)
    lease = path.admission.admit(
        tenant=principal.tenant,
        epoch=snapshot.epoch,
        limits=snapshot.tenant.limits,
        units=planned.reservation,
        lease_id=new_lease_id(now_ms, path.randomness),
        now_ms=now_ms,
    )
    if found:
        from chalicelib.inference.guarded import count_findings

        count_findings(found, "prompt", planned, path)  # once for each that is admitted, however often it was judged
    return planned, lease
