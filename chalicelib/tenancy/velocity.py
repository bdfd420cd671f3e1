"""How many different prompts, keys and addresses a tenant may call with, and how many findings it may have.

The rules stand in its document: those that operators set, and those that its owners set beside them, for all of it and
for single keys. Each is judged by itself, so that the strictest wins.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from chalicelib.refusal import Conflict, Malformed
from chalicelib.tenancy.records import Records
from chalicelib.tenancy.tenant import MOST_RULES, Tenant, VelocityRule

MOST_KEYS = 100
"""That have rules of their own."""

KeyRules = Mapping[str, tuple[VelocityRule, ...]]
"""By the ids of keys."""


class VelocityRules:
    """Every change of them. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, rules: Sequence[VelocityRule]) -> Tenant:
        """The operator's: these, and no others, from the next request on. Raises Malformed."""
        must_be_sound(rules)
        return self._records.change_tenant(
            tenant_id, lambda tenant: msgspec.structs.replace(tenant, velocity=tuple(rules))
        )

    def put_own(self, tenant_id: str, rules: Sequence[VelocityRule], by_key: KeyRules, keys: Collection[str]) -> Tenant:
        """The owners': these, and no others, from the next request on. `keys`: that there are. Raises Malformed."""
        must_be_sound(rules)
        must_be_of_keys(by_key, keys)
        return self._records.change_tenant(
            tenant_id,
            lambda tenant: msgspec.structs.replace(tenant, own_velocity=tuple(rules), key_velocity=dict(by_key)),
        )

    def hand_on(self, tenant_id: str, old: str, new: str) -> None:
        """The rules of one key are another's, too, which takes its place."""

        def handed_on(tenant: Tenant) -> Tenant:
            rules = tenant.key_velocity.get(old)
            by_key = tenant.key_velocity if rules is None else {**tenant.key_velocity, new: rules}
            if len(by_key) > MOST_KEYS:
                raise Conflict(
                    f"{MOST_KEYS} keys at most have rules of velocity of their own, and this would be one more. "
                    "Take away those of keys that are gone, by PUT /tenants/{tenant}/velocity."
                )
            return msgspec.structs.replace(tenant, key_velocity=by_key)

        self._records.change_tenant(tenant_id, handed_on)

    def forget_key(self, tenant_id: str, key: str) -> None:
        """It has none any more."""

        def without(tenant: Tenant) -> Tenant:
            others = {each: rules for each, rules in tenant.key_velocity.items() if each != key}
            return msgspec.structs.replace(tenant, key_velocity=others)

        self._records.change_tenant(tenant_id, without)

    def throttle(self, tenant_id: str, rule: VelocityRule) -> Tenant:
        """From the next request on, that is refused which breaks this rule; it is put where it was taken away."""

        def throttled(tenant: Tenant) -> Tenant:
            others = [each for each in tenant.velocity if (each.what, each.per_s) != (rule.what, rule.per_s)]
            rules = (*others, msgspec.structs.replace(rule, action="throttle"))
            must_be_sound(rules)
            return msgspec.structs.replace(tenant, velocity=rules)

        return self._records.change_tenant(tenant_id, throttled)


def must_be_sound(rules: Sequence[VelocityRule], field: str = "rules") -> None:
    """Raises Malformed."""
    if len(rules) > MOST_RULES:
        raise Malformed(f"There are {MOST_RULES} rules of velocity at most.", field=field)
    if any(rule.what == "tenants" for rule in rules):
        raise Malformed("How many tenants one address may call is for PUT /admin/velocity to say.", field=field)
    kinds = [(rule.what, rule.per_s) for rule in rules]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            raise Malformed("There is a rule of this kind, for as many seconds, already.", field=f"{field}[{index}]")


def must_be_of_keys(by_key: KeyRules, keys: Collection[str]) -> None:
    """Raises Malformed."""
    if len(by_key) > MOST_KEYS:
        raise Malformed(f"{MOST_KEYS} keys at most have rules of their own.", field="keys")
    for key, rules in by_key.items():
        if key not in keys:
            raise Malformed(f"The tenant has no key {key[:64]}.", field="keys")
        must_be_sound(rules, f"keys.{key}")
        if any(rule.what == "keys" for rule in rules):
            raise Malformed("One key is always one key: rules of `keys` are the tenant's.", field=f"keys.{key}")
