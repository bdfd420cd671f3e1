"""The JSON API: which operations there are, what each takes, and who may call it. Signatures are not verified."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from emulators.cognito import requests
from emulators.cognito.administration import Administration
from emulators.cognito.authentication import Authentication
from emulators.cognito.refusal import CognitoError, invalid

Answer = dict[str, Any]

ANYBODYS: Mapping[str, tuple[type[requests.Request], Callable[[Authentication, Any], Answer]]] = {
    "InitiateAuth": (requests.InitiateAuth, Authentication.initiate),
    "RespondToAuthChallenge": (requests.RespondToAuthChallenge, Authentication.respond),
    "GetUser": (requests.WithAccessToken, Authentication.user),
    "GlobalSignOut": (requests.WithAccessToken, Authentication.sign_out),
    "RevokeToken": (requests.RevokeToken, Authentication.revoke),
}
"""What proves who calls is in the call."""
OPERATORS: Mapping[str, tuple[type[requests.Request], Callable[[Administration, Any], Answer]]] = {
    "CreateUserPool": (requests.CreateUserPool, Administration.create_pool),
    "DescribeUserPool": (requests.OfPool, Administration.describe_pool),
    "ListUserPools": (requests.ListUserPools, Administration.list_pools),
    "CreateUserPoolClient": (requests.CreateUserPoolClient, Administration.create_client),
    "UpdateUserPoolClient": (requests.UpdateUserPoolClient, Administration.update_client),
    "DescribeUserPoolClient": (requests.OfClient, Administration.describe_client),
    "ListUserPoolClients": (requests.ListUserPoolClients, Administration.list_clients),
    "CreateResourceServer": (requests.CreateResourceServer, Administration.create_resource_server),
    "CreateGroup": (requests.CreateGroup, Administration.create_group),
    "AdminCreateUser": (requests.AdminCreateUser, Administration.create_user),
    "AdminGetUser": (requests.OfUser, Administration.get_user),
    "AdminDeleteUser": (requests.OfUser, Administration.delete_user),
    "AdminDisableUser": (requests.OfUser, Administration.disable_user),
    "AdminEnableUser": (requests.OfUser, Administration.enable_user),
    "AdminUserGlobalSignOut": (requests.OfUser, Administration.sign_out_user),
    "AdminSetUserPassword": (requests.AdminSetUserPassword, Administration.set_password),
    "AdminUpdateUserAttributes": (requests.AdminUpdateUserAttributes, Administration.update_attributes),
    "AdminAddUserToGroup": (requests.OfMembership, Administration.add_to_group),
    "AdminRemoveUserFromGroup": (requests.OfMembership, Administration.remove_from_group),
}
"""Only who signs with an access key of the account may call them."""


class Operations:
    def __init__(self, authentication: Authentication, administration: Administration) -> None:
        self._authentication = authentication
        self._administration = administration

    def answer(self, name: str, body: bytes, *, signed: bool) -> Answer:
        """Raises CognitoError."""
        if name in ANYBODYS:
            takes, answer = ANYBODYS[name]
            return answer(self._authentication, _parameters(body, takes))
        if name not in OPERATORS:
            raise CognitoError("UnknownOperationException", f"{name} is not here; docs/local-cognito.md has what is.")
        if not signed:
            raise CognitoError("MissingAuthenticationTokenException", "Missing Authentication Token")
        takes, act = OPERATORS[name]
        return act(self._administration, _parameters(body, takes))


def _parameters(body: bytes, takes: type[requests.Request]) -> requests.Request:
    try:
        return msgspec.json.decode(body or b"{}", type=takes)
    except msgspec.ValidationError as error:
        raise invalid(f"1 validation error detected: {error}") from None
    except msgspec.DecodeError:
        raise CognitoError("SerializationException", "The body is not a JSON object.") from None
