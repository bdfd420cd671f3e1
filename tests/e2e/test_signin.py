"""The two people of the local system sign in with their passwords, and are who they are at its gateway."""

import json
from typing import Any

import pytest

from tests.e2e.admin import bearer, http
from tests.local_system import RunningSystem


def signed_in(system: RunningSystem, person: str) -> tuple[int, dict[str, Any]]:
    body = {"email": system.env[f"CLOISTER_{person}_EMAIL"], "password": system.env[f"CLOISTER_{person}_PASSWORD"]}
    status, _, answer = http("POST", f"{system.base_url}/signin/token", body)
    return status, json.loads(answer)


@pytest.mark.parametrize(("person", "members"), [("PERSON", 200), ("VIEWER", 403)])
def test_a_persons_token_is_good_wherever_a_key_is(running_system: RunningSystem, person: str, members: int) -> None:
    status, told = signed_in(running_system, person)
    assert status == 200, told
    tenant, token = f"{running_system.base_url}/tenants/{running_system.tenant}", bearer(told["access_token"])
    assert http("GET", f"{tenant}/v1/models", headers=token)[0] == 200
    assert http("GET", f"{tenant}/members", headers=token)[0] == members
