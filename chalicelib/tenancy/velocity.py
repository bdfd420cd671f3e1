"""How many different prompts, keys and addresses a tenant may call with: rules in its document, set by operators."""

from collections.abc import Sequence

import msgspec

from chalicelib.refusal import Malformed
from chalicelib.tenancy.records import Records
from chalicelib.tenancy.tenant import MOST_RULES, Tenant, VelocityRule


class VelocityRules:
    """Every change of them. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, rules: Sequence[VelocityRule]) -> Tenant:
        """These, and no others, from the next request on. Raises Malformed."""
        must_be_sound(rules)
        return self._records.change_tenant(
            tenant_id, lambda tenant: msgspec.structs.replace(tenant, velocity=tuple(rules))
        )

    def throttle(self, tenant_id: str, rule: VelocityRule) -> Tenant:
        """From the next request on, that is refused which breaks this rule; it is put where it was taken away."""

        def throttled(tenant: Tenant) -> Tenant:
            others = [each for each in tenant.velocity if (each.what, each.per_s) != (rule.what, rule.per_s)]
            rules = (*others, msgspec.structs.replace(rule, action="throttle"))
            must_be_sound(rules)
            return msgspec.structs.replace(tenant, velocity=rules)

        return self._records.change_tenant(tenant_id, throttled)


def must_be_sound(rules: Sequence[VelocityRule]) -> None:
    """Raises Malformed."""
    if len(rules) > MOST_RULES:
        raise Malformed(f"A tenant has {MOST_RULES} rules of velocity at most.", field="rules")
    kinds = [(rule.what, rule.per_s) for rule in rules]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            raise Malformed("There is a rule of this kind, for as many seconds, already.", field=f"rules[{index}]")
