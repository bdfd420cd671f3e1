"""One immutable entry per finished request: audit trail and source of billing."""

from typing import Literal

import msgspec

from chalicelib.ledger.units import Units

Outcome = Literal["completed", "failed", "abandoned"]


class Audited(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an audit must know of a call besides its entry. Sizes in bytes."""

    user_arn: str = ""
    source_ip: str = ""
    source_partition: str = ""
    destination_partition: str = ""
    model_id: str = ""
    inference_profile: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    tokens_in: int = 0  # these two of entries from before `Entry` had them
    tokens_out: int = 0
    data_classification: str = ""


class Entry(msgspec.Struct, frozen=True):
    """What became of one admitted request. Holds no prompt and no answer.

    `used` is what the engine reported, `charged` what the meter was charged: never more than was reserved.
    `late` is usage that arrived after the request had been declared abandoned; it is never charged.
    """

    tenant: str
    lease_id: str  # time-ordered, unique; the ledger's key
    request_id: str  # what the caller knows it by
    outcome: Outcome
    reason: str  # "" when completed; else the refusal's class or why it was abandoned
    used: Units
    charged: Units
    admitted_ms: int
    settled_ms: int
    region: str
    subject: str = ""  # who called: "key:<id>"
    pool: str = ""
    target: str = ""
    operation: str = ""
    streamed: bool = False
    sealed: str = ""  # the mode, where the gateway could not read the request
    tokens_in: int | None = None  # these three are what `used.tokens` is made of; None: not written then
    tokens_out: int | None = None
    tokens_cached: int | None = None  # of those in
    late: Units | None = None
    audited: Audited | None = None  # calls across partitions
    key: str = ""  # the id of the API key that called, where one did; in `subject` alone before there was this
    member: str = ""  # whose call it was, where it was one of the tenant's people's
