"""What a tenant's rules are: of what may be said to models, and by them. The rules themselves are `guard`'s.

| document     | under  | says                                                    |
|--------------|--------|---------------------------------------------------------|
| `guardrails` | tenant | Guardrails: the rules; its version is theirs            |
| `tenant`     | tenant | `guarded`: whether there are any, so that others read none |
"""

from collections.abc import Mapping

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Document
from chalicelib.refusal import Malformed, StoreUnavailable
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.tenant import Tenant
from guard import PackUse, Rule, Rules, Topic, problems

DOCUMENT = "guardrails"

MOST_BYTES = 100_000
"""Of a rule set as JSON: sandboxes keep it beside the tenant, and DynamoDB holds 400 KB in an item."""


class Guardrails(msgspec.Struct, frozen=True):
    """A tenant's rules. `version` grows with each change."""

    rules: Rules
    version: int = 0
    changed_ms: int = 0

    def telling(self, findings: Mapping[str, int]) -> Mapping[str, int]:
        """Of these the findings of rules that flag or refuse, which somebody may have to look at."""
        uses = [PackUse(use) if isinstance(use, str) else use for use in self.rules.packs]
        written: list[Rule | PackUse | Topic] = [*self.rules.rules, *uses, *self.rules.topics]
        mended = {each.name for each in written if each.action == "redact"}
        return {name: count for name, count in findings.items() if name not in mended}


def guardrails_of(document: Document | None) -> Guardrails:
    """Raises StoreUnavailable where a tenant that has rules lacks them: nothing can be judged, so nothing runs."""
    if document is None:
        raise StoreUnavailable("The tenant's guardrails are missing.")
    return msgspec.structs.replace(value(document, Guardrails), version=document.version)


class GuardrailRules:
    """Every change of a tenant's rules. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def of(self, tenant_id: str) -> Guardrails:
        """Those of before the first change are none at all, at version 0."""
        document = self._records.held(tenant_id, DOCUMENT)
        return guardrails_of(document) if document else Guardrails(Rules())

    def put(self, tenant_id: str, rules: Rules) -> Guardrails:
        """True from the tenant's next request on. Raises Malformed, saying of each rule what is wrong with it."""
        said = problems(rules)
        if said:
            raise Malformed("The guardrails cannot be set: " + "; ".join(said[:20]) + ".")
        document = self._records.get(tenant_id, "tenant", f"tenant {tenant_id}")
        held = self._records.held(tenant_id, DOCUMENT)
        written = text(Guardrails(rules, changed_ms=self._clock()))
        if len(written.encode()) > MOST_BYTES:
            raise Malformed(f"The guardrails are larger than {MOST_BYTES:,} bytes. Write fewer rules, or shorter ones.")
        self._records.write(Document(tenant_id, DOCUMENT, written, held.version if held else 0))
        self._records.replace(document, msgspec.structs.replace(value(document, Tenant), guarded=rules != Rules()))
        return self.of(tenant_id)
