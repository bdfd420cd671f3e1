"""The audit log's totals, of groups instead of entries."""

from collections import Counter

from chalicelib.ledger.log import MOST_USED, Share, Totals, Wanted
from chalicelib.usage.group import Group
from chalicelib.usage.latencies import percentile
from chalicelib.usage.tally import Groups, Tally


def rolled_up(wanted: Wanted, groups: Groups) -> Totals | None:
    """Of the groups that match; percentiles are at most a 64th beside the true ones.

    None where groups do not tell whether they match: of a caller that is neither a key nor a member.
    """
    if wanted.principal is not None and not wanted.principal.startswith(("key:", "member:")):
        return None
    total, used = Tally(), Counter[str]()
    for group, tally in groups.items():
        if _matches(wanted, group):
            total.add(tally)
            used[group.model] += tally.requests
    del used[""]
    return Totals(
        count=total.requests,
        success_rate=round(1 - total.refusals / total.requests, 4) if total.requests else None,
        p50_latency_ms=percentile(total.steps, 50),
        p95_latency_ms=percentile(total.steps, 95),
        bytes=total.bytes,
        most_used=tuple(Share(model, count) for model, count in used.most_common(MOST_USED)),
        complete=True,
    )


def _matches(wanted: Wanted, group: Group) -> bool:
    principal = f"key:{group.key}" if group.key else f"member:{group.member}"
    return (
        wanted.model in (None, group.model)
        and wanted.principal in (None, principal)
        and wanted.success in (None, not group.refusal)
    )
