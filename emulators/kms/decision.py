"""May this caller use this key so: the key's policy, its grants and the caller's own policies, taken together.

https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html
"""

from collections.abc import Mapping

import msgspec

from emulators.iam.policy import Call, Identity, Policy, Standing


class Grant(msgspec.Struct, frozen=True):
    grantee: str
    operations: frozenset[str]  # without "kms:"
    constraints: Mapping[str, Mapping[str, str]]

    def allows(self, call: Call) -> bool:
        return (
            self.grantee in call.caller.names
            and call.action.removeprefix("kms:") in self.operations
            and all(_holds(name, pairs, call.context) for name, pairs in self.constraints.items())
        )


class KeyRules(msgspec.Struct, frozen=True):
    """What stands on a key."""

    account: str
    policy: Policy
    grants: tuple[Grant, ...]


def refusal(call: Call, key: KeyRules | None, identity: Identity) -> str | None:
    """Why the call is not allowed, in AWS's words; None if it is. `key` is None where the operation has none."""
    if key is None:
        return identity.refusal(call)
    if key.policy.denies(call):
        return "with an explicit deny in a resource-based policy"
    return identity.forbids(call) or _refusal_by_key(call, key, identity)


def _refusal_by_key(call: Call, key: KeyRules, identity: Identity) -> str | None:
    if any(grant.allows(call) for grant in key.grants):
        return None
    standing = key.policy.allows(call)
    if standing is Standing.NOT_MEANT:
        return f"because no resource-based policy allows the {call.action} action"
    own = call.caller.account == key.account
    return None if standing is Standing.BY_NAME and own else identity.refusal(call)


def _holds(constraint: str, pairs: Mapping[str, str], context: Mapping[str, str]) -> bool:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html: keys whatever their case."""
    wanted = sorted((name.lower(), value) for name, value in pairs.items())
    given = sorted((name.lower(), value) for name, value in context.items())
    if constraint == "EncryptionContextEquals":
        return wanted == given
    # Every other constraint is unknown here, and grants nothing.
    return constraint == "EncryptionContextSubset" and set(wanted) <= set(given)
