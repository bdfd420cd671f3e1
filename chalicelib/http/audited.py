"""What an audit must know of a request, as far as its door knows."""

from chalicelib.http.incoming import Incoming
from chalicelib.inference.settlement import partition_of
from chalicelib.ledger import Audited
from chalicelib.refusal import Malformed

CLASSIFICATIONS = ("public", "internal", "confidential", "restricted", "cui", "itar")


def audited(asked: Incoming, region: str, *, model_id: str = "", inference_profile: str = "") -> Audited:
    """`region`: the gateway's, from whose partition a caller without an ARN comes. Raises Malformed."""
    arn = asked.iam_arn or ""
    return Audited(
        user_arn=arn,
        source_ip=asked.source_ip,
        source_partition=partition_of(arn.split(":")[1] if arn else region),
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
