"""The stack of the user pool: who can sign in, by what, and that the local system's pool is made alike."""

from typing import Any, get_args

import pytest

from chalicelib.tenancy.tenant import Role
from cloister.cli import loopback
from emulators.clock import now_ms
from emulators.cognito import LocalCognito, requests
from emulators.cognito.administration import Administration
from emulators.dynamodb import Rows
from local import user_pool
from tests.deployment.stacks import template

POOL = {"Ref": "UserPool"}


def properties(kind: str) -> dict[str, dict[str, Any]]:
    """Of every resource of this kind, by its name in the template."""
    resources = template("identity")["Resources"].items()
    return {name: each["Properties"] for name, each in resources if each["Type"] == f"AWS::Cognito::{kind}"}


def clients() -> dict[str, dict[str, Any]]:
    return {each["ClientName"]: each for each in properties("UserPoolClient").values()}


def test_nobody_signs_up_and_no_address_counts_before_it_is_confirmed() -> None:
    (pool,) = properties("UserPool").values()
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert pool["UserAttributeUpdateSettings"] == {"AttributesRequireVerificationBeforeUpdate": ["email"]}


def test_the_pool_outlives_its_stack() -> None:
    pool = template("identity")["Resources"]["UserPool"]
    assert (pool["DeletionPolicy"], pool["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert pool["Properties"]["DeletionProtection"] == "ACTIVE"


def test_each_client_has_one_way_in() -> None:
    ways = {
        name: (client.get("AllowedOAuthFlows", []), "ALLOW_USER_PASSWORD_AUTH" in client.get("ExplicitAuthFlows", []))
        for name, client in clients().items()
    }
    assert ways == {
        "web": (["code"], False),
        "terminal": (["code"], False),
        "password": ([], True),
        "machine": (["client_credentials"], False),
    }
    assert [name for name, client in clients().items() if client["GenerateSecret"]] == ["machine"]


def test_nobody_learns_who_is_in_the_pool() -> None:
    for name in ("web", "terminal", "password"):
        assert clients()[name]["PreventUserExistenceErrors"] == "ENABLED"


def test_the_sign_in_page_is_where_each_partition_has_it() -> None:
    """GovCloud has FIPS endpoints alone: https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/govcloud-cog.html"""
    labels = template("identity")["Mappings"]["SignInPage"]
    assert labels == {"aws": {"Label": "auth"}, "aws-us-gov": {"Label": "auth-fips"}}


def test_the_issuer_is_told_and_not_put_together() -> None:
    assert template("identity")["Outputs"]["Issuer"]["Value"] == {"Fn::GetAtt": ["UserPool", "ProviderURL"]}


def test_from_a_terminal_browsers_come_back_to_the_ports_that_the_command_listens_on() -> None:
    assert clients()["terminal"]["CallbackURLs"] == [f"http://localhost:{port}/" for port in loopback.PORTS]
    assert loopback.PORTS == user_pool.TERMINAL_PORTS


@pytest.mark.parametrize("client", ["web", "terminal"])
@pytest.mark.parametrize(("condition", "provider"), [("Saml", "EnterpriseSaml"), ("Oidc", "EnterpriseOidc")])
def test_where_a_company_has_a_provider_people_sign_in_there_and_nowhere_else(
    condition: str, provider: str, client: str
) -> None:
    (chosen,) = clients()[client]["SupportedIdentityProviders"]
    name, then, otherwise = chosen["Fn::If"]
    if name != condition:
        name, then, otherwise = otherwise["Fn::If"]
        assert otherwise == "COGNITO"
    assert (name, then) == (condition, {"Ref": provider})
    assert template("identity")["Resources"][provider]["Condition"] == condition


def test_a_secret_of_the_companys_provider_is_no_parameter() -> None:
    secret = properties("UserPoolIdentityProvider")["EnterpriseOidc"]["ProviderDetails"]["client_secret"]
    assert secret["Fn::Sub"].startswith("{{resolve:secretsmanager:")


def test_the_groups_are_the_roles() -> None:
    groups = {each["GroupName"] for each in properties("UserPoolGroup").values()}
    assert groups == set(user_pool.ROLES) == set(get_args(Role))


def administration() -> Administration:
    async def nothing(*_: object) -> None:
        """Nobody calls."""

    cognito = LocalCognito(
        nothing,
        Rows(None),
        url="http://127.0.0.1:1",
        account="111122223333",
        region="us-east-1",
        partition="aws",
        clock=now_ms,
    )
    return cognito.administration


def test_the_local_pool_has_the_same_clients() -> None:
    local = administration()
    pool = user_pool.opened(local, "http://127.0.0.1:8000").pool
    for each in local.list_clients(requests.ListUserPoolClients(user_pool_id=pool))["UserPoolClients"]:
        made = local.describe_client(requests.OfClient(user_pool_id=pool, client_id=each["ClientId"]))["UserPoolClient"]
        there = clients()[each["ClientName"]]
        assert bool(made.get("ClientSecret")) == there["GenerateSecret"]
        for name in ("AllowedOAuthFlows", "AllowedOAuthScopes", "ExplicitAuthFlows"):
            assert sorted(made[name]) == sorted(there.get(name, [])), (each["ClientName"], name)
        assert made["PreventUserExistenceErrors"] == there.get("PreventUserExistenceErrors", "LEGACY")


def test_the_local_pool_is_opened_once_and_follows_the_gateway() -> None:
    local = administration()
    first = user_pool.opened(local, "http://127.0.0.1:8000")
    assert user_pool.opened(local, "http://127.0.0.1:9000") == first
    web = local.describe_client(requests.OfClient(user_pool_id=first.pool, client_id=first.web_client))
    assert {url.rpartition(":")[2].partition("/")[0] for url in web["UserPoolClient"]["CallbackURLs"]} == {"9000"}
