"""The parameters of the JSON API's operations that are answered here, as botocore's service model has them.

A parameter that is not in its operation here is refused, so that nobody believes it has done something.
"""

from typing import Annotated, Literal

import msgspec

from emulators.cognito.records import PasswordPolicy

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Token = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
_Urls = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=1024)], ...], msgspec.Meta(max_length=100)]
_Validity = Annotated[int, msgspec.Meta(ge=1, le=315_360_000)]
Unit = Literal["seconds", "minutes", "hours", "days"]


class Request(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True, kw_only=True):
    pass


class OfPool(Request, frozen=True):
    user_pool_id: _Name


class OfUser(OfPool, frozen=True):
    username: _Name


class Attribute(Request, frozen=True):
    name: Literal["email", "email_verified", "sub"]
    value: Annotated[str, msgspec.Meta(max_length=2048)] = ""


class Policies(Request, frozen=True):
    password_policy: PasswordPolicy = PasswordPolicy()


class CreateUserPool(Request, frozen=True):
    pool_name: _Name
    username_attributes: tuple[Literal["email"], ...] = ()
    auto_verified_attributes: tuple[Literal["email"], ...] = ()
    policies: Policies = Policies()


class ListUserPools(Request, frozen=True):
    max_results: int = 60


class TokenValidityUnits(Request, frozen=True):
    access_token: Unit = "hours"
    id_token: Unit = "hours"
    refresh_token: Unit = "days"


class ClientSettings(OfPool, frozen=True):
    explicit_auth_flows: tuple[
        Literal["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"], ...
    ] = ()
    supported_identity_providers: tuple[Literal["COGNITO"], ...] = ()
    # Not upper case alone: what `rename` makes of callback_urls is CallbackUrls.
    callback_urls: _Urls = msgspec.field(default=(), name="CallbackURLs")
    logout_urls: _Urls = msgspec.field(default=(), name="LogoutURLs")
    allowed_oauth_flows: tuple[Literal["code", "client_credentials"], ...] = msgspec.field(
        default=(), name="AllowedOAuthFlows"
    )
    allowed_oauth_scopes: _Urls = msgspec.field(default=(), name="AllowedOAuthScopes")
    allowed_oauth_flows_user_pool_client: bool = msgspec.field(default=False, name="AllowedOAuthFlowsUserPoolClient")
    prevent_user_existence_errors: Literal["ENABLED", "LEGACY"] = "LEGACY"
    access_token_validity: _Validity = 1
    id_token_validity: _Validity = 1
    refresh_token_validity: _Validity = 30
    token_validity_units: TokenValidityUnits = TokenValidityUnits()


class CreateUserPoolClient(ClientSettings, frozen=True, kw_only=True):
    client_name: _Name
    generate_secret: bool = False


class UpdateUserPoolClient(ClientSettings, frozen=True, kw_only=True):
    """What is not said is set back to what it is by default, but for the name."""

    client_id: _Name
    client_name: _Name | None = None


class ListUserPoolClients(OfPool, frozen=True):
    max_results: int = 60


class OfClient(OfPool, frozen=True):
    client_id: _Name


class Scope(Request, frozen=True):
    scope_name: _Name
    scope_description: _Name


class CreateResourceServer(OfPool, frozen=True):
    identifier: _Name
    name: _Name
    scopes: tuple[Scope, ...] = ()


class CreateGroup(OfPool, frozen=True):
    group_name: _Name
    description: Annotated[str, msgspec.Meta(max_length=2048)] = ""


class OfMembership(OfUser, frozen=True):
    group_name: _Name


class AdminCreateUser(OfUser, frozen=True):
    user_attributes: tuple[Attribute, ...] = ()
    temporary_password: _Password | None = None
    message_action: Literal["SUPPRESS", "RESEND"] = "SUPPRESS"


class AdminSetUserPassword(OfUser, frozen=True):
    password: _Password
    permanent: bool = False


class AdminUpdateUserAttributes(OfUser, frozen=True):
    user_attributes: tuple[Attribute, ...]


class InitiateAuth(Request, frozen=True):
    auth_flow: str
    client_id: _Name
    auth_parameters: dict[str, _Token] = {}


class RespondToAuthChallenge(Request, frozen=True):
    client_id: _Name
    challenge_name: str
    session: _Token
    challenge_responses: dict[str, _Token] = {}


class WithAccessToken(Request, frozen=True):
    access_token: _Token


class RevokeToken(Request, frozen=True):
    token: _Token
    client_id: _Name
    client_secret: str = ""
