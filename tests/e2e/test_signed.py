"""Signed requests to the running system: its operator's, its GovCloud clients', and those of whoever IAM knows."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.admin import admin
from tests.emulators.iam.people import People, allow
from tests.emulators.iam.signers import SIGNERS, Asked, Keys, by_botocore, send
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S
from tests.small_deployments import Gateway

ROOT = Path(__file__).parents[2]
TENANTS = Asked("GET", "/admin/tenants")
MODELS = Asked("GET", "/v1/bedrock/models")
LOG = Asked("GET", "/v1/dashboard/requests?limit=1")
API = "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:local/api/*"


def gateway(system: RunningSystem) -> Gateway:
    where = urlsplit(system.base_url)
    return Gateway(where.hostname or "", where.port or 0)


def operator(system: RunningSystem) -> Keys:
    env = system.env
    return Keys(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_REGION"])


def govcloud(system: RunningSystem, which: str = "CLOISTER_GOVCLOUD") -> Keys:
    env = system.env
    return Keys(env[f"{which}_ACCESS_KEY_ID"], env[f"{which}_SECRET_ACCESS_KEY"], env["CLOISTER_GOVCLOUD_REGION"])


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_the_operator_signs_for_the_admin_surface(running_system: RunningSystem, signer: Any) -> None:
    answer = signer(operator(running_system), TENANTS, gateway(running_system))
    assert running_system.tenant in [tenant["id"] for tenant in answer.json["tenants"]]


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_the_govcloud_client_may_call_its_routes_and_no_others(running_system: RunningSystem, signer: Any) -> None:
    keys, where = govcloud(running_system), gateway(running_system)
    assert signer(keys, LOG, where).status == 200
    refused = signer(keys, TENANTS, where)
    assert refused.status == 403
    assert "no identity-based policy allows the execute-api:Invoke action" in refused.json["detail"]


@pytest.mark.parametrize("asked", [MODELS, TENANTS, LOG], ids=lambda asked: asked.path)
def test_the_govcloud_client_who_may_not_call_is_told_so(running_system: RunningSystem, asked: Asked) -> None:
    refused = by_botocore(govcloud(running_system, "CLOISTER_GOVCLOUD_DENIED"), asked, gateway(running_system))
    assert refused.status == 403
    assert "with an explicit deny in an identity-based policy" in refused.json["detail"]


def test_a_request_that_nobody_signed_is_refused_with_its_request_id(running_system: RunningSystem) -> None:
    refused = gateway(running_system).call("GET", MODELS.path, key=running_system.api_key)
    assert (refused.status, "Sign this request" in refused.json["detail"]) == (403, True)
    assert refused.json["request_id"] == refused.headers["x-request-id"]


def test_a_role_of_a_new_tenant_from_its_making_to_its_removal(running_system: RunningSystem) -> None:
    people, where = People(running_system.env["AWS_ENDPOINT_URL"]), gateway(running_system)
    role = people.role(allow(f"{API}/v1/dashboard/*"), path="/team/")
    session = people.session(role)
    admin(running_system, "POST", "/tenants", {"id": "signed", "name": "Signed", "pools": []})

    refused = by_botocore(session, LOG, where)
    assert (refused.status, "belongs to no tenant here" in refused.json["detail"]) == (403, True)
    admin(running_system, "PUT", "/tenants/signed/principals", {"principals": [role]})
    assert by_botocore(session, LOG, where).json["requests"] == []
    assert by_botocore(session, MODELS, where).status == 403
    admin(running_system, "DELETE", "/tenants/signed/principals")
    assert by_botocore(session, LOG, where).status == 403


def test_curl_signs_as_the_page_shows_it(running_system: RunningSystem) -> None:
    page = (ROOT / "docs" / "api.md").read_text().partition("## Signed requests")[2]
    (example,) = re.findall(r"```sh\n(.*?)```", page.partition("\n## ")[0], re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", example],
        env={**os.environ, **running_system.env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == admin(running_system, "GET", f"/tenants/{running_system.tenant}/principals")


def test_no_log_of_the_system_has_a_signature_a_token_or_a_secret(running_system: RunningSystem) -> None:
    where, keys = gateway(running_system), govcloud(running_system)
    people = People(running_system.env["AWS_ENDPOINT_URL"])
    session = people.session(people.role(allow("*")))
    for each in (keys, session, Keys(keys.access_key_id, "guessed-secret", keys.region)):
        by_botocore(each, TENANTS, where)
    send(TENANTS, {"Authorization": "AWS4-HMAC-SHA256 nonsense-signature"}, where)
    logged = "".join(log.read_text(errors="replace") for log in (running_system.state_dir / "logs").iterdir())
    for secret in (keys.secret, session.secret, session.token or "", "guessed-secret", "nonsense-signature"):
        assert secret not in logged
