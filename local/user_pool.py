"""Who signs in to the local system: a user pool and its clients, as infra/identity.yaml makes them on AWS.

Made in the cloud's own process, before anybody calls it. The people in it are made by `local.bootstrap`.
"""

from typing import Any

import msgspec

from emulators.cognito import requests
from emulators.cognito.administration import Administration
from emulators.cognito.records import PasswordPolicy

NAME = "Cloister"
ROLES = ("owner", "developer", "analyst", "viewer")

TERMINAL_PORTS = (8976, 18976, 28976)
"""Where `cloister login` has browsers come back to."""

_SERVER, _SCOPE = "cloister", "api"
_OF_PEOPLE = {"prevent_user_existence_errors": "ENABLED", "supported_identity_providers": ("COGNITO",)}


class UserPool(msgspec.Struct, frozen=True):
    """What the others must know of it."""

    pool: str
    web_client: str
    """Public: of browsers, with code and PKCE."""
    password_client: str
    """Public: of programs that have a person's mail address and password."""

    terminal_client: str
    """Public: of `cloister login`, with code and PKCE, back to a port of the same machine."""

    def told(self) -> dict[str, str]:
        """As the cloud's ready line has it. Machines are known by the scope that their clients have."""
        people = (self.web_client, self.password_client, self.terminal_client)
        named = {"web_client": self.web_client, "password_client": self.password_client}
        named["terminal_client"] = self.terminal_client
        return {"client_ids": ",".join(people), "machine_scope": f"{_SERVER}/{_SCOPE}", **named}


def opened(cognito: Administration, gateway: str) -> UserPool:
    """The pool, made where it is not there yet. `gateway`: where browsers come back to; it may be another each time."""
    pools = cognito.list_pools(requests.ListUserPools())["UserPools"]
    pool: str = next((each["Id"] for each in pools if each["Name"] == NAME), "") or _made(cognito, gateway)
    listed = cognito.list_clients(requests.ListUserPoolClients(user_pool_id=pool))["UserPoolClients"]
    clients = {each["ClientName"]: each["ClientId"] for each in listed}
    cognito.update_client(requests.UpdateUserPoolClient(client_id=clients["web"], **_web(pool, gateway)))
    if "terminal" not in clients:  # of a pool that an earlier version has made
        clients["terminal"] = _made_client(cognito, "terminal", _terminal(pool))
    return UserPool(pool, clients["web"], clients["password"], clients["terminal"])


def _made(cognito: Administration, gateway: str) -> str:
    """Its ID."""
    long_suffices = PasswordPolicy(
        minimum_length=14,
        require_uppercase=False,
        require_lowercase=False,
        require_numbers=False,
        require_symbols=False,
    )
    asked = requests.CreateUserPool(
        pool_name=NAME, username_attributes=("email",), policies=requests.Policies(password_policy=long_suffices)
    )
    pool: str = cognito.create_pool(asked)["UserPool"]["Id"]
    scope = requests.Scope(scope_name=_SCOPE, scope_description="Call Cloister's API")
    cognito.create_resource_server(
        requests.CreateResourceServer(user_pool_id=pool, identifier=_SERVER, name=NAME, scopes=(scope,))
    )
    for role in ROLES:
        cognito.create_group(requests.CreateGroup(user_pool_id=pool, group_name=role))
    by_password = ("ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH")
    for name, secret, settings in (
        ("web", False, _web(pool, gateway)),
        ("password", False, {"user_pool_id": pool, "explicit_auth_flows": by_password, **_OF_PEOPLE}),
        ("machine", True, _coded(pool, "client_credentials", (f"{_SERVER}/{_SCOPE}",))),
    ):
        cognito.create_client(requests.CreateUserPoolClient(client_name=name, generate_secret=secret, **settings))
    return pool


def _made_client(cognito: Administration, name: str, settings: dict[str, Any]) -> str:
    made = cognito.create_client(requests.CreateUserPoolClient(client_name=name, generate_secret=False, **settings))
    client_id: str = made["UserPoolClient"]["ClientId"]
    return client_id


def _terminal(pool: str) -> dict[str, Any]:
    asked = _coded(pool, "code", ("openid", "email", "profile"))
    back = tuple(f"http://localhost:{port}/" for port in TERMINAL_PORTS)
    return {**asked, **_OF_PEOPLE, "explicit_auth_flows": ("ALLOW_REFRESH_TOKEN_AUTH",), "callback_urls": back}


def _web(pool: str, gateway: str) -> dict[str, Any]:
    back = (f"{gateway}/signin/callback",)
    asked = _coded(pool, "code", ("openid", "email", "profile"))
    refreshed = {"explicit_auth_flows": ("ALLOW_REFRESH_TOKEN_AUTH",)}
    return {**asked, **refreshed, **_OF_PEOPLE, "callback_urls": back, "logout_urls": (f"{gateway}/",)}


def _coded(pool: str, flow: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "user_pool_id": pool,
        "allowed_oauth_flows": (flow,),
        "allowed_oauth_flows_user_pool_client": True,
        "allowed_oauth_scopes": scopes,
    }
