"""What each role may do, written down a second time: a change of it must be meant."""

from typing import get_args

import pytest

from chalicelib.identity.principal import Principal
from chalicelib.identity.roles import PERMISSIONS, Permission
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.tenant import Role

MAY: dict[str, set[str]] = {
    "infer": {"owner", "developer"},
    "models.read": {"owner", "developer", "analyst", "viewer"},
    "usage.read": {"owner", "developer", "analyst"},
    "responses.manage": {"owner", "developer"},
    "keys.manage": {"owner"},
    "members.manage": {"owner"},
}


def test_every_permission_and_every_role_is_in_the_table() -> None:
    assert set(get_args(Permission)) == set(MAY)
    assert set(get_args(Role)) == set(PERMISSIONS)


@pytest.mark.parametrize("permission", get_args(Permission))
@pytest.mark.parametrize("role", get_args(Role))
def test_a_role_may_do_what_the_table_says(role: Role, permission: Permission) -> None:
    principal = Principal("acme", "key:x", role, "api_key")
    if role in MAY[permission]:
        principal.must(permission)
    else:
        with pytest.raises(Forbidden, match=permission):
            principal.must(permission)
