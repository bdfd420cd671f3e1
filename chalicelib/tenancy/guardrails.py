"""What a tenant's rules are: of what may be said to models, and by them. The rules themselves are `guard`'s.

| document     | under  | says                                                    |
|--------------|--------|---------------------------------------------------------|
| `guardrails` | tenant | Guardrails: the rules; its version is theirs            |
| `tenant`     | tenant | `bedrock_guardrails`: those that it may be judged by    |
| `tenant`     | tenant | `guarded`: whether there are any, so that others read none |
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Document
from chalicelib.partition import partition_of
from chalicelib.pool import BedrockGuardrail, GuardrailName
from chalicelib.refusal import Malformed, StoreUnavailable
from chalicelib.tenancy.allowed import Allowed
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.tenant import Tenant
from guard import PackUse, Rule, Rules, Topic, compiled, problems, strictest
from guard.rules import Direction

DOCUMENT = "guardrails"

MOST_BYTES = 100_000
"""Of a rule set as JSON: sandboxes keep it beside the tenant, and DynamoDB holds 400 KB in an item."""


MOST_KEYS_BYTES = 10_000
"""Of a key's own as JSON: sandboxes keep ten thousand keys."""

NONE = Rules()


class SecondStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rules let pass is judged once more, by a guardrail of Bedrock's that the operator offers the tenant."""

    guardrail: GuardrailName
    direction: Direction = "both"
    deadline_ms: Annotated[int, msgspec.Meta(ge=100, le=10_000)] = 2_000  # of each call of it
    on_fault: Literal["closed", "open"] = "closed"  # where it says nothing in time: refuse, or let pass


class Guardrails(msgspec.Struct, frozen=True):
    """A tenant's rules. `version` grows with each change."""

    rules: Rules
    bedrock: SecondStage | None = None
    allow: Allowed | None = None  # what may be used at all. None: all that the tenant has
    version: int = 0
    changed_ms: int = 0

    @property
    def judges(self) -> bool:
        """Whether anything is to be looked for in what is said."""
        return self.bedrock is not None or self.rules != NONE


def telling(rules: Rules, findings: Mapping[str, int]) -> Mapping[str, int]:
    """Of these the findings of rules that flag or refuse, which somebody may have to look at."""
    written: list[Rule | PackUse | Topic] = [*rules.rules, *rules.pack_uses, *rules.topics]
    mended = {each.name for each in written if each.action == "redact"}
    return {name: count for name, count in findings.items() if name not in mended}


def guardrails_of(document: Document | None) -> Guardrails:
    """Raises StoreUnavailable where a tenant that has rules lacks them: nothing can be judged, so nothing runs."""
    if document is None:
        raise StoreUnavailable("The tenant's guardrails are missing.")
    return msgspec.structs.replace(value(document, Guardrails), version=document.version)


def _must_have_none(said: Sequence[str]) -> None:
    """Of problems. Raises Malformed, saying of each rule what is wrong with it."""
    if said:
        raise Malformed("The guardrails cannot be set: " + "; ".join(said[:20]) + ".")


def must_be_a_keys(rules: Rules, tenants: Rules, field: str = "guardrails") -> None:
    """Raises Malformed for what no key of a tenant with such rules can have beside them."""
    if rules == NONE:
        raise Malformed("These guardrails say nothing. Leave them out.", field=field)
    if len(text(rules).encode()) > MOST_KEYS_BYTES:
        raise Malformed(
            f"A key's guardrails have {MOST_KEYS_BYTES:,} bytes at most. Set them for the tenant.", field=field
        )
    _must_have_none(problems(rules))
    from guard.automaton import Unfit  # RE2, which whoever sets rules loads

    try:
        compiled(strictest(tenants, rules))
    except Unfit:
        raise Malformed(
            "Together with the tenant's, these guardrails are too large. Write fewer rules.", field=field
        ) from None


class GuardrailRules:
    """Every change of a tenant's rules. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def of(self, tenant_id: str) -> Guardrails:
        """Those of before the first change are none at all, at version 0."""
        document = self._records.held(tenant_id, DOCUMENT)
        return guardrails_of(document) if document else Guardrails(Rules())

    def put(
        self, tenant_id: str, rules: Rules, bedrock: SecondStage | None = None, allow: Allowed | None = None
    ) -> Guardrails:
        """True from the tenant's next request on. Raises Malformed, saying of each rule what is wrong with it."""
        document = self._records.get(tenant_id, "tenant", f"tenant {tenant_id}")
        _must_have_none([*problems(rules), *_not_offered(bedrock, value(document, Tenant))])
        held = self._records.held(tenant_id, DOCUMENT)
        written = text(Guardrails(rules, bedrock, allow, changed_ms=self._clock()))
        if len(written.encode()) > MOST_BYTES:
            raise Malformed(f"The guardrails are larger than {MOST_BYTES:,} bytes. Write fewer rules, or shorter ones.")
        self._records.write(Document(tenant_id, DOCUMENT, written, held.version if held else 0))
        guarded = rules != NONE or bedrock is not None or allow is not None
        self._records.replace(document, msgspec.structs.replace(value(document, Tenant), guarded=guarded))
        return self.of(tenant_id)


class OfferedGuardrails:
    """Which guardrails of Bedrock's a tenant may use. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, offered: Sequence[BedrockGuardrail], region: str) -> Tenant:
        """These, and no others, from the next request on. `region`: the gateway's. Raises Malformed."""
        _must_be_reachable(offered, region)
        return self._records.change_tenant(
            tenant_id, lambda tenant: msgspec.structs.replace(tenant, bedrock_guardrails=tuple(offered))
        )


def _not_offered(bedrock: SecondStage | None, tenant: Tenant) -> Iterator[str]:
    names = [each.name for each in tenant.bedrock_guardrails]
    if bedrock is not None and bedrock.guardrail not in names:
        there = f"there are {', '.join(names)}" if names else "there are none; ask the operator of the service for one"
        yield f"the operator offers this tenant no guardrail of Bedrock's called {bedrock.guardrail!r}; {there}"


def _must_be_reachable(offered: Sequence[BedrockGuardrail], region: str) -> None:
    names = [each.name for each in offered]
    for index, each in enumerate(offered):
        if each.name in names[:index]:
            raise Malformed(
                f"There is a guardrail {each.name!r} already in this list.", field=f"guardrails[{index}].name"
            )
        # What is judged stays in its partition: prompts cross it only for a model that runs on the other side.
        if not partition_of(each.arn.split(":")[1]) == partition_of(each.region) == partition_of(region):
            raise Malformed(
                "A guardrail is in the gateway's own partition, and its ARN names a region of that.",
                field=f"guardrails[{index}].arn",
            )
