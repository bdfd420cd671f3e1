"""How many different prompts, keys and addresses a tenant may call with: rules in its document, set by operators."""

from collections.abc import Sequence

import msgspec

from chalicelib.refusal import Malformed
from chalicelib.tenancy.records import Records, value
from chalicelib.tenancy.tenant import MOST_RULES, Tenant, VelocityRule


class VelocityRules:
    """Every change of them. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, rules: Sequence[VelocityRule]) -> Tenant:
        """These, and no others, from the next request on. Raises Malformed."""
        if len(rules) > MOST_RULES:
            raise Malformed(f"A tenant has {MOST_RULES} rules of velocity at most.", field="rules")
        kinds = [(rule.what, rule.per_s) for rule in rules]
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                raise Malformed("There is a rule of this kind, for as many seconds, already.", field=f"rules[{index}]")
        document = self._records.get(tenant_id, "tenant", f"tenant {tenant_id}")
        changed = msgspec.structs.replace(value(document, Tenant), velocity=tuple(rules))
        self._records.replace(document, changed)
        return changed

    def throttle(self, tenant_id: str, rule: VelocityRule) -> Tenant:
        """From the next request on, that is refused which breaks this rule; it is put where it was taken away."""
        strict = msgspec.structs.replace(rule, action="throttle")
        held = value(self._records.get(tenant_id, "tenant", f"tenant {tenant_id}"), Tenant).velocity
        others = [each for each in held if (each.what, each.per_s) != (rule.what, rule.per_s)]
        return self.put(tenant_id, (*others, strict))
