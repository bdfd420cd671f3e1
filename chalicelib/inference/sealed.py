"""Sealed calls on the path: what the enclave is permitted, who holds the key, and what was sent before."""

import hashlib

import msgspec

from chalicelib.admission import Lease
from chalicelib.call import Call
from chalicelib.inference.idempotency import claim
from chalicelib.inference.path import Path
from chalicelib.inference.plan import Plan, SealedRequest
from chalicelib.refusal import Conflict, NotOpened
from chalicelib.tickets import Claims, Use

DAY_MS = 86_400_000

KEEP_MS = {"kms": 3_650 * DAY_MS, "esdk": 3_650 * DAY_MS, "hpke": 91 * DAY_MS}
"""How long a sealed request is remembered: a key epoch lives for 90 days at most, a KMS key for years."""


def must_be_possessed(planned: Plan, path: Path) -> None:
    """See that the enclave can open the request with the tenant's key. Nothing is admitted and nothing run.

    An enclave says so of mode esdk only: of a request in mode kms it would prove nothing (see `identity`).

    Raises: NotOpened; NoCapacity, EngineFailed, EngineTimedOut where no enclave answers.
    """
    path.placement.consult(planned.pool, planned.pin, _with_ticket(planned, "check", path))


def sealed_call(planned: Plan, lease: Lease, path: Path) -> Call:
    """The call as a container takes it: the ciphertext, and the gateway's permission to open it.

    The request is remembered for its tenant, everywhere at once. Raises NotOpened where it was sent before.
    """
    assert planned.sealed is not None
    try:
        claim(_name(planned.sealed, planned.call.request_id), lease, path, KEEP_MS[planned.sealed.mode])
    except Conflict:
        raise NotOpened from None
    return msgspec.structs.replace(planned.call, sealed=_with_ticket(planned, "run", path))


def _with_ticket(planned: Plan, use: Use, path: Path) -> bytes:
    assert planned.sealed is not None
    claims = Claims(
        use=use,
        tenant=planned.principal.tenant,
        mode=planned.sealed.mode,
        key_arn=planned.sealed.key_arn or "",
        request_id=planned.call.request_id,
        pool=planned.call.model_name,  # as the request was sealed for it
        operation=planned.call.operation,
        surface=planned.surface,
        stream=planned.call.stream,
        ceiling_tokens=planned.call.ceiling_tokens,
    )
    return path.tickets.permit(claims, planned.sealed.body, _rules(planned) if use == "run" else b"")


def _rules(planned: Plan) -> bytes:
    """By which it is judged where it is opened; empty: by none."""
    if not planned.guarded:
        return b""
    from chalicelib.inference.guarded import sent_rules  # only tenants with rules load it, and keys limited to tools

    return sent_rules(planned)


def _name(sealed: SealedRequest, request_id: str) -> str:
    """What is never the same in two requests. KMS's blob is; in the other modes the request id is inside the seal,
    and the whole is not (the signature of an Encryption SDK message has a twin that verifies as well).

    The zero byte stands in no header, and so in no Idempotency-Key: those are forgotten after a day.
    """
    if sealed.mode == "kms":
        return f"sealed\0kms {hashlib.sha256(sealed.body).hexdigest()}"
    return f"sealed\0{sealed.mode} {request_id}"
