"""May this caller use this key so: the key's policy, its grants and the caller's own policies, taken together.

https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html
"""

from collections.abc import Mapping

import msgspec

from local.kms.policy import Call, Policy, Standing


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


class Identity(msgspec.Struct, frozen=True):
    """What stands on a caller: all their IAM policies, and the policy that narrows their session, if it has one."""

    policies: tuple[Policy, ...]
    session: Policy | None = None

    def allows(self, call: Call) -> bool:
        return any(policy.allows(call) for policy in self.policies)

    def denies(self, call: Call) -> bool:
        narrowed = self.session is not None and self.session.denies(call)
        return narrowed or any(policy.denies(call) for policy in self.policies)


def refusal(call: Call, key: KeyRules | None, identity: Identity) -> str | None:
    """Why the call is not allowed, in AWS's words; None if it is. `key` is None where the operation has none."""
    if key is not None and key.policy.denies(call):
        return "with an explicit deny in a resource-based policy"
    if identity.denies(call):
        return "with an explicit deny in an identity-based policy"
    if identity.session is not None and not identity.session.allows(call):
        return f"because no session policy allows the {call.action} action"
    if key is None:
        return None if call.caller.is_root or identity.allows(call) else _no_identity(call)
    return _refusal_by_key(call, key, identity)


def _refusal_by_key(call: Call, key: KeyRules, identity: Identity) -> str | None:
    if any(grant.allows(call) for grant in key.grants):
        return None
    standing = key.policy.allows(call)
    if standing is Standing.NOT_MEANT:
        return f"because no resource-based policy allows the {call.action} action"
    own = call.caller.account == key.account
    if (standing is Standing.BY_NAME and own) or call.caller.is_root or identity.allows(call):
        return None
    return _no_identity(call)


def _no_identity(call: Call) -> str:
    return f"because no identity-based policy allows the {call.action} action"


def _holds(constraint: str, pairs: Mapping[str, str], context: Mapping[str, str]) -> bool:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html: keys whatever their case."""
    wanted = sorted((name.lower(), value) for name, value in pairs.items())
    given = sorted((name.lower(), value) for name, value in context.items())
    if constraint == "EncryptionContextEquals":
        return wanted == given
    # Every other constraint is unknown here, and grants nothing.
    return constraint == "EncryptionContextSubset" and set(wanted) <= set(given)
