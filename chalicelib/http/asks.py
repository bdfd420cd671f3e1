"""The one way from a door to an Ask: what every inference request brings along, whichever wire it speaks."""

from collections.abc import Callable, Mapping

import msgspec

from chalicelib import wiring
from chalicelib.call import Operation
from chalicelib.http.incoming import Incoming
from chalicelib.http.outgoing import promise
from chalicelib.http.visit import visiting
from chalicelib.identity import Signed
from chalicelib.inference.plan import Ask, SealedRequest
from chalicelib.ledger import Audited
from chalicelib.partition import partition_of
from chalicelib.refusal import Malformed
from chalicelib.tenancy.tenant import SurfaceName

CLASSIFICATIONS = ("public", "internal", "confidential", "restricted", "cui", "itar")


def ask_of(
    asked: Incoming,
    surface: SurfaceName,
    operation: Operation,
    *,
    tenant: str | None,
    pool: str,
    fields: Mapping[str, msgspec.Raw],
    max_tokens: int | None,
    choices: int = 1,
    stream: bool = False,
    sealed: SealedRequest | None = None,
    model_id: str = "",
    inference_profile: str = "",
    refusal: Callable[[bytes], bytes] | None = None,
) -> Ask:
    """See Ask. Where it asks for a stream, one is promised, with `refusal`. Raises Malformed, NoCapacity."""
    if stream and (visit := visiting.get()) is not None:
        visit.open_stream()
    if stream and sealed is None:
        promise(asked, refusal)
    return Ask(
        credential=asked.credential,
        tenant=tenant,
        surface=surface,
        route=asked.route,
        arrived_ms=asked.arrived_ms,
        trace=asked.trace,
        operation=operation,
        pool=pool,
        fields=fields,
        request_id=asked.request_id,
        max_tokens=max_tokens,
        choices=choices,
        stream=stream,
        idempotency_key=asked.headers.get("idempotency-key"),
        sealed=sealed,
        model_id=model_id,
        source=asked.source,
        audited=_audit_facts(asked, model_id, inference_profile),
    )


def _audit_facts(asked: Incoming, model_id: str, inference_profile: str) -> Audited:
    """What an audit must know of the request, as far as its door knows."""
    arn = asked.credential.arn if isinstance(asked.credential, Signed) else ""
    # A caller without an ARN comes from the gateway's own partition.
    origin = arn.split(":")[1] if arn else wiring.path().settings.region
    return Audited(
        user_arn=arn,
        source_ip=asked.source_ip,
        source_partition=partition_of(origin),
        model_id=model_id,
        inference_profile=inference_profile,
        request_bytes=len(asked.body),
        data_classification=_classification(asked),
    )


def _classification(asked: Incoming) -> str:
    said = asked.headers.get("x-data-classification", "")
    if said and said not in CLASSIFICATIONS:
        raise Malformed(
            f"X-Data-Classification is one of: {', '.join(CLASSIFICATIONS)}.", field="X-Data-Classification"
        )
    return said
