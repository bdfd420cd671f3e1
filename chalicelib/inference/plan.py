"""From what the caller asks to what an engine is called with, and what is reserved for it. Pure."""

import hashlib
from collections.abc import Mapping

import msgspec

import bounds
from chalicelib.call import AS_CHATS, BEDROCKS, Call, Operation, SealMode, Usage
from chalicelib.dialects import ceilings, media
from chalicelib.dialects.anthropic import members
from chalicelib.dialects.media import Medium
from chalicelib.identity.credential import Credential
from chalicelib.identity.principal import Principal
from chalicelib.ledger import Audited, Units
from chalicelib.pool import Pool
from chalicelib.refusal import Malformed, NotFound, NotOpened, TooLarge
from chalicelib.sight import UNTRACED, Trace
from chalicelib.tenancy.guardrails import NONE
from chalicelib.tenancy.snapshot import Snapshot
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.tenancy.tenant import SurfaceName
from guard import Rules, strictest

MICRO = 1_000_000

PIXELS_PER_TOKEN = 750
"""Of Claude, which takes the fewest (https://docs.claude.com/en/docs/build-with-claude/vision); Qwen and Llama: 784."""

IMAGE_LEAST_TOKENS = 256
"""For what is added to an image of any size: an overview of it, its margins, marks around it."""

NEVER_PROMPT = frozenset(
    ("model", "stream", "stream_options", *members.SAY_BETAS, *ceilings.OF_CHAT, *ceilings.OF_RESPONSE)
)


KMS_BLOB_BYTES = 6_144
"""What kms:Decrypt takes (https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html)."""


class SealedRequest(msgspec.Struct, frozen=True):
    """A request that the gateway carries and cannot read."""

    mode: SealMode
    key_arn: str | None  # the KMS key that the request names
    body: bytes


class Ask(msgspec.Struct, frozen=True):
    """One inference request as a door took it in: parsed, nothing about it decided yet."""

    credential: Credential | None
    tenant: str | None  # the one the request names, if it names one
    surface: SurfaceName
    operation: Operation
    pool: str
    fields: Mapping[str, msgspec.Raw]  # the OpenAI-shaped body, values undecoded; empty where it is sealed
    request_id: str
    max_tokens: int | None = None
    choices: int = 1
    stream: bool = False
    idempotency_key: str | None = None
    sealed: SealedRequest | None = None
    model_id: str = ""  # what one of BEDROCKS names
    source: NetworkSource = NetworkSource()
    route: str = ""  # by which it came: a method and a path, as keys are narrowed to it
    arrived_ms: int | None = None  # None: when it is admitted
    trace: Trace = UNTRACED
    audited: Audited | None = None  # what an audit must know of it, as far as the door knows

    def forgotten(self) -> "Ask":
        """The same, without what is asked of the model."""
        return msgspec.structs.replace(self, fields={}, sealed=None)

    def prompt_tokens(self, pool: Pool) -> int:
        """Of everything that may reach the prompt: engines know more ways there than we do (documents, templates).

        Of a sealed request all of it: no plaintext is longer than its ciphertext.
        """
        if self.sealed is not None:
            return -(-len(self.sealed.body) // pool.bytes_per_token)
        written = sum(len(value) for name, value in self.fields.items() if name not in NEVER_PROMPT)
        things = media.found(self.fields)
        text = written - sum(medium.written_bytes for medium in things)
        return -(-text // pool.bytes_per_token) + sum(weight(medium, pool) for medium in things)


class Plan(msgspec.Struct, frozen=True):
    """A call with its pool, and everything that is reserved for it before it may run."""

    principal: Principal
    snapshot: Snapshot
    pool: Pool
    call: Call
    reservation: Units
    surface: SurfaceName
    sealed: SealedRequest | None = None  # with the tenant's own key, where the mode has one
    route: str = ""
    arrived_ms: int | None = None
    trace: Trace = UNTRACED
    audited: Audited | None = None

    def forgotten(self) -> "Plan":
        """The same, without what is asked of the model: what a settlement needs."""
        sealed = self.sealed and msgspec.structs.replace(self.sealed, body=b"")
        return msgspec.structs.replace(self, call=self.call.forgotten(), sealed=sealed)

    @property
    def guarded(self) -> bool:
        """Whether anything of it, or of its answer, may be forbidden: by its tenant's rules or its key's, or by its
        key's tools."""
        guardrails, principal = self.snapshot.guardrails, self.principal
        judges = guardrails is not None and guardrails.judges
        return judges or principal.rules is not None or bool(principal.scopes.tools)

    @property
    def pin(self) -> str | None:
        """The one target that this tenant's calls may run on, if it has one for this pool."""
        return self.snapshot.tenant.pins.get(self.pool.name)


def plan(ask: Ask, principal: Principal, snapshot: Snapshot) -> Plan:
    """What this principal's request would run and reserve.

    Raises: Forbidden, NotFound (no such pool for this caller), Malformed; NotOpened, TooLarge (sealed).
    """
    pool = allowed_pool(ask, principal, snapshot)
    _must_be_bounded(ask.fields)
    name = ask.pool or pool.name
    if _offered_as(ask.operation) not in pool.operations:
        raise Malformed(
            f"The model {name} does not offer {ask.operation}, only {', '.join(pool.operations)}.", field="model"
        )
    generates = ask.operation not in ("embeddings", "messages.count_tokens")
    # Who asks for more than the pool generates has its most: programs name one ceiling for whatever model there is.
    ceiling = min(ask.max_tokens or pool.default_max_tokens, pool.max_tokens) if generates else 0
    call = Call(
        request_id=ask.request_id,
        operation=ask.operation,
        pool=pool.name,
        fields=ask.fields,
        stream=ask.stream,
        prompt_tokens=ask.prompt_tokens(pool),
        ceiling_tokens=ceiling,
        choices=ask.choices,
        tenant_tag=tag_of(principal.tenant),
        priority=snapshot.tenant.priority,
        alias=name if name != pool.name else "",
        model_id=ask.model_id,
        traceparent=ask.trace.traceparent if ask.trace.trace_id else "",
    )
    return Plan(
        principal,
        snapshot,
        pool,
        call,
        cost(pool, Usage(call.prompt_tokens, ceiling * ask.choices), pool.gpu_ms_ceiling),
        ask.surface,
        sealed=ask.sealed and _sealed(ask.sealed, pool, snapshot),
        route=ask.route,
        arrived_ms=ask.arrived_ms,
        trace=ask.trace,
        audited=ask.audited,
    )


def rules_of(principal: Principal, snapshot: Snapshot) -> Rules:
    """What holds of what may be said: the tenant's rules, and its key's own."""
    rules = NONE if snapshot.guardrails is None else snapshot.guardrails.rules
    return rules if principal.rules is None else strictest(rules, principal.rules)


def allowed_pool(ask: Ask, principal: Principal, snapshot: Snapshot) -> Pool:
    """The pool that this principal may run the request on. Raises: Forbidden, NotFound."""
    principal.must("infer")
    principal.must_come_by(ask.route, ask.surface)
    pool = snapshot.pool(ask.pool) if ask.pool else offering(ask.operation, snapshot, principal)
    if pool is not None and principal.may_use(pool.name):
        return pool
    if pool is not None:
        principal.must_be_offered(pool.name)
    if not ask.pool:
        offered = _offered_as(ask.operation)
        raise NotFound(f"No pool that this caller may use offers {offered}. Ask the operator of the service for one.")
    raise NotFound(
        f"There is no model {ask.pool[:64]!r} for this key. GET .../models lists those there are.", field="model"
    )


def _must_be_bounded(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raises Malformed, if an engine would work at it for too long, which nobody could stop."""
    try:
        bounds.must_hold(fields)
    except bounds.Exceeded as exceeded:
        raise Malformed(exceeded.text, field=exceeded.member or None) from None


def weight(medium: Medium, pool: Pool) -> int:
    """The tokens that an image, a recording or a document may be, by its size and at most what the pool says."""
    if medium.kind == "image":
        known = None if medium.pixels is None else IMAGE_LEAST_TOKENS + -(-medium.pixels // PIXELS_PER_TOKEN)
        return pool.image_tokens if known is None else min(known, pool.image_tokens)
    known = None if medium.size_bytes is None else -(-medium.size_bytes // pool.bytes_per_token)
    return pool.file_tokens if known is None else min(known, pool.file_tokens)


def offering(operation: Operation, snapshot: Snapshot, principal: Principal) -> Pool | None:
    """The tenant's first pool that offers it to a caller who names none."""
    usable = (name for name in snapshot.tenant.pools if name in snapshot.pools and principal.may_use(name))
    named = (snapshot.pools[name] for name in usable)
    return next((pool for pool in named if _offered_as(operation) in pool.operations), None)


def _offered_as(operation: Operation) -> Operation:
    """Which of a pool's operations has to be there; whoever offers Bedrock's models offers both ways to call them."""
    if operation in AS_CHATS:
        return "chat.completions"
    return "invoke" if operation in BEDROCKS else operation


def _sealed(asked: SealedRequest, pool: Pool, snapshot: Snapshot) -> SealedRequest:
    """The request with the one key that may open it. Raises: Malformed, NotOpened, TooLarge."""
    if not pool.sealed:
        raise Malformed(f"The model {pool.name} takes no sealed requests: no enclave stands before it.", field="model")
    if asked.mode == "hpke":
        return msgspec.structs.replace(asked, key_arn="")
    if asked.mode == "kms" and len(asked.body) > KMS_BLOB_BYTES:
        raise TooLarge(
            f"Mode kms carries {KMS_BLOB_BYTES:,} bytes at most, and this has {len(asked.body):,}. "
            "Seal it in mode esdk or hpke, which carry megabytes."
        )
    sealing = snapshot.tenant.sealing
    arn = sealing.key_for(asked.key_arn)
    if arn is None and asked.key_arn is None:
        raise Malformed(
            f"This tenant has {len(sealing.keys)} registered KMS keys: name the one of this request in X-KMS-Key-ID."
            if sealing.keys
            else "This tenant has no registered KMS key. Register one, or seal in mode hpke.",
            field="X-KMS-Key-ID",
        )
    if arn is None:
        raise NotOpened
    return msgspec.structs.replace(asked, key_arn=arn)


def cost(pool: Pool, usage: Usage, gpu_ms: int) -> Units:
    """What a request with this usage takes of every limited unit. Money is rounded up to whole micro-dollars."""
    input_price, cached_price = pool.input_micro_usd_per_mtok, pool.cached_micro_usd_per_mtok
    cached = 0 if cached_price is None else usage.cached_tokens
    price = (
        (usage.prompt_tokens - cached) * input_price
        + cached * (cached_price or 0)
        + usage.completion_tokens * pool.output_micro_usd_per_mtok
    )
    return Units(requests=1, tokens=usage.total_tokens, micro_usd=-(-price // MICRO), gpu_ms=gpu_ms)


def tag_of(tenant: str) -> str:
    """The tenant as engines may know it: stable, and not its name."""
    return hashlib.sha256(b"cloister tenant tag\0" + tenant.encode()).hexdigest()[:16]
