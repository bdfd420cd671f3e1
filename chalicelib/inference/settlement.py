"""What an ended call is charged, and its entry in the ledger."""

import msgspec

from chalicelib.admission import Lease
from chalicelib.call import Usage
from chalicelib.inference.answer import CLIENT_LEFT, REFUSED, REVOKED, Ending
from chalicelib.inference.path import Path
from chalicelib.inference.plan import Plan, cost
from chalicelib.ledger import Audited, Entry, Units
from chalicelib.partition import partition_of
from chalicelib.pool import Target
from chalicelib.refusal import StoreUnavailable
from chalicelib.sight import RequestFacts
from chalicelib.sight.telemetry import RequestEvent


def settle(planned: Plan, lease: Lease, target: Target | None, ending: Ending, path: Path) -> None:
    """Write the entry and free the lease; one line in the log says what became of the request.

    A store that is down does not take the answer from the caller: the settlement is repeated when the store answers
    again. If the process ends before, the reaper finishes the lease, charging nothing; the line in the log holds what
    was used.
    """
    ended = entry(planned, lease, target, ending, path.clock(), path.settings.region)
    try:
        decided = path.admission.settle(lease, ended)
        # With another outcome it had been declared abandoned.
        event: RequestEvent = "Settled" if decided.outcome == ended.outcome else "SettledLate"
    except StoreUnavailable:
        event = "SettlementDeferred"
    path.telemetry.request(_facts(event, ended, planned, ending))
    if ended.outcome == "completed" and ended.charged != ended.used:
        # Nobody may be charged more than was admitted; the pool's rule is too low for what its engine counts.
        path.telemetry.count(
            "ReservationExceeded",
            ended.settled_ms,
            tenant=ended.tenant,
            lease=ended.lease_id,
            trace_id=planned.trace.trace_id,
            pool=ended.pool,
            tokens=ended.used.tokens - ended.charged.tokens,
            micro_usd=ended.used.micro_usd - ended.charged.micro_usd,
        )


def _facts(event: RequestEvent, ended: Entry, planned: Plan, ending: Ending) -> RequestFacts:
    waited = ending.waited
    return RequestFacts(
        event,
        tenant=ended.tenant,
        request_id=ended.request_id,
        route=planned.route,
        arrived_ms=ended.admitted_ms if planned.arrived_ms is None else planned.arrived_ms,
        ended_ms=ended.settled_ms,
        trace=planned.trace,
        reason=ended.reason,
        lease=ended.lease_id,
        pool=ended.pool,
        target=ended.target,
        operation=ended.operation,
        outcome=ended.outcome,
        streamed=ended.streamed,
        admitted_ms=ended.admitted_ms,
        tokens_in=ended.tokens_in or 0,
        tokens_out=ended.tokens_out or 0,
        tokens=ended.used.tokens,
        micro_usd=ended.used.micro_usd,
        queue_position=waited.queue_position if waited else None,
        predicted_start_ms=waited.predicted_start_ms if waited else None,
        first_token_ms=ending.first_ms,
    )


def entry(planned: Plan, lease: Lease, target: Target | None, ending: Ending, now_ms: int, region: str) -> Entry:
    """What became of the call. Pure.

    A finished call is charged what the engine reported; a call that its client left, that was revoked, or that a rule
    of its tenant's refused, what was generated until then; a call that failed, which is our doing, nothing.
    """
    call = planned.call
    if target is None:
        usage, used = Usage(), Units()  # no engine saw it
    else:
        usage = ending.usage or Usage(call.prompt_tokens, ending.counted)
        used = cost(planned.pool, usage, now_ms - lease.admitted_ms if planned.pool.gpu_ms_ceiling else 0)
    return Entry(
        tenant=lease.tenant,
        lease_id=lease.lease_id,
        request_id=call.request_id,
        outcome="failed" if ending.reason else "completed",
        reason=ending.reason,
        used=used,
        charged=used.at_most(lease.reserved) if ending.reason in ("", CLIENT_LEFT, REVOKED, REFUSED) else Units(),
        admitted_ms=lease.admitted_ms,
        settled_ms=now_ms,
        region=region,
        subject=planned.principal.subject,
        pool=planned.pool.name,
        target=target.name if target else "",
        operation=call.operation,
        streamed=call.stream,
        sealed=planned.sealed.mode if planned.sealed else "",
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        tokens_cached=usage.cached_tokens,
        audited=_audit_facts(planned.audited, planned, target, ending, region) if planned.audited else None,
        key=planned.principal.key,
        member=planned.principal.member or "",
    )


def _audit_facts(begun: Audited, planned: Plan, target: Target | None, ending: Ending, region: str) -> Audited | None:
    """For calls to Bedrock; None for those that stay with our own models."""
    meant = target or planned.pool.targets[0]
    if not meant.crosses_partition and not begun.model_id:
        return None
    destination = ending.detail.get("region") or meant.destination(region)
    return msgspec.structs.replace(
        begun,
        model_id=begun.model_id or meant.model,
        destination_partition=destination and partition_of(destination),
        inference_profile=ending.detail.get("inference_profile", begun.inference_profile),
        response_bytes=ending.answered_bytes,
    )
