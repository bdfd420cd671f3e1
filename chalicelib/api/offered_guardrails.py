"""Guardrails of Bedrock's, as the operator offers them to a tenant: its owners choose one by its name."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.pool import BedrockGuardrail

surface = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")

MOST = 20


class OfferedGuardrailList(msgspec.Struct, frozen=True):
    """The guardrails that a tenant may be judged by."""

    guardrails: Annotated[tuple[BedrockGuardrail, ...], msgspec.Meta(max_length=MOST)]


@surface.door(
    "GET", "/admin/tenants/{tenant}/bedrock-guardrails", permission="operate",
    summary="Guardrails of Bedrock's that a tenant may use", returns=OfferedGuardrailList,
)  # fmt: skip
def list_offered_guardrails(asked: Incoming) -> OfferedGuardrailList:
    """The tenant's owners see their names, and nothing else of them."""
    return OfferedGuardrailList(wiring.tenancy().tenant(asked.parameters["tenant"]).bedrock_guardrails)


@surface.door(
    "PUT", "/admin/tenants/{tenant}/bedrock-guardrails", permission="operate", for_narrowed="closed",
    summary="Set the guardrails of Bedrock's that a tenant may use", accepts=OfferedGuardrailList,
    returns=OfferedGuardrailList,
)  # fmt: skip
def put_offered_guardrails(asked: Incoming) -> OfferedGuardrailList:
    """These, and no others, from its next request on. One that a tenant uses and that is gone says nothing any more."""
    offered = asked.json(OfferedGuardrailList).guardrails
    tenancy, region = wiring.tenancy(), wiring.path().settings.region
    tenant = tenancy.offered_guardrails.put(asked.parameters["tenant"], offered, region)
    return OfferedGuardrailList(tenant.bedrock_guardrails)
