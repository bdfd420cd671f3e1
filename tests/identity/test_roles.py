"""What each role may do, written down a second time: a change of it must be meant."""

from itertools import pairwise
from typing import get_args

import pytest

from chalicelib.identity.principal import Principal
from chalicelib.identity.roles import MEANING, PERMISSIONS, Permission
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.tenant import Role

MAY: dict[str, set[str]] = {
    "infer": {"owner", "developer"},
    "models.read": {"owner", "developer", "analyst", "viewer"},
    "usage.read": {"owner", "developer", "analyst"},
    "responses.manage": {"owner", "developer"},
    "keys.manage": {"owner"},
    "members.manage": {"owner"},
    "guardrails.manage": {"owner"},
    "data.manage": {"owner"},
    "sessions.manage": {"owner", "developer", "analyst", "viewer"},
}


def test_every_permission_and_every_role_is_in_the_table() -> None:
    assert set(get_args(Permission)) == set(MAY) == set(MEANING)
    assert set(get_args(Role)) == set(PERMISSIONS)


def test_each_role_may_do_all_that_those_after_it_may() -> None:
    """By that order two roles are compared: a member's, and that of their key."""
    held = [PERMISSIONS[role] for role in get_args(Role)]
    assert all(wider > narrower for wider, narrower in pairwise(held))


@pytest.mark.parametrize("permission", get_args(Permission))
@pytest.mark.parametrize("role", get_args(Role))
def test_a_role_may_do_what_the_table_says(role: Role, permission: Permission) -> None:
    principal = Principal("acme", "key:x", role, "api_key")
    if role in MAY[permission]:
        principal.must(permission)
    else:
        with pytest.raises(Forbidden, match=permission):
            principal.must(permission)
