"""The operations of the JSON API that anybody may call: what they prove themselves with is in the call."""

import hmac
from collections.abc import Mapping
from typing import Any

from emulators.clock import Clock
from emulators.cognito import requests
from emulators.cognito.credentials import Credentials, check_hash
from emulators.cognito.directory import Directory
from emulators.cognito.records import Client, User
from emulators.cognito.refusal import invalid, not_authorized
from emulators.cognito.tokens import API_SCOPE, Issuer, Tokens

Answer = dict[str, Any]
_CHALLENGE = "NEW_PASSWORD_REQUIRED"


class Authentication:
    def __init__(self, directory: Directory, credentials: Credentials, issuer: Issuer, clock: Clock) -> None:
        self._directory = directory
        self._credentials = credentials
        self._issuer = issuer
        self._clock = clock

    def initiate(self, asked: requests.InitiateAuth) -> Answer:
        client = self._directory.client(asked.client_id)
        flow, given = asked.auth_flow, asked.auth_parameters
        if flow == "USER_PASSWORD_AUTH":
            _enabled(client, "ALLOW_USER_PASSWORD_AUTH", flow)
            name, password = _parameter(given, "USERNAME"), _parameter(given, "PASSWORD")
            check_hash(client, name, given.get("SECRET_HASH", ""))
            return self._by_password(client, self._credentials.user(client, name, password))
        if flow in ("REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"):
            _enabled(client, "ALLOW_REFRESH_TOKEN_AUTH", flow)
            return self._by_refresh(client, given)
        raise invalid(f"Initiate Auth method {flow} is not supported here; docs/local-cognito.md has those that are.")

    def respond(self, asked: requests.RespondToAuthChallenge) -> Answer:
        client = self._directory.client(asked.client_id)
        if asked.challenge_name != _CHALLENGE:
            raise invalid(f"{_CHALLENGE} is the only challenge here.")
        given = asked.challenge_responses
        check_hash(client, given.get("USERNAME", ""), given.get("SECRET_HASH", ""))
        return self._begun(client, self._credentials.renewed(client, asked.session, _parameter(given, "NEW_PASSWORD")))

    def user(self, asked: requests.WithAccessToken) -> Answer:
        user = self._holder(asked.access_token)
        return {"Username": user.username, "UserAttributes": attributes(user)}

    def sign_out(self, asked: requests.WithAccessToken) -> Answer:
        self._directory.sign_out(self._holder(asked.access_token))
        return {}

    def revoke(self, asked: requests.RevokeToken) -> Answer:
        client = self._directory.client(asked.client_id)
        if not hmac.compare_digest(client.secret.encode(), asked.client_secret.encode()):
            raise not_authorized("Invalid client secret")
        if found := self._issuer.sign_in_of(client, asked.token):
            self._issuer.revoke(found[1])
        return {}

    def _by_password(self, client: Client, user: User) -> Answer:
        if user.temporary:
            session = self._credentials.challenge(client, user)
            told = {"USER_ID_FOR_SRP": user.username, "requiredAttributes": "[]", "userAttributes": "{}"}
            return {"ChallengeName": _CHALLENGE, "Session": session, "ChallengeParameters": told}
        return self._begun(client, user)

    def _begun(self, client: Client, user: User) -> Answer:
        return _result(self._issuer.begin(client, user, (API_SCOPE,), since_ms=self._clock()))

    def _by_refresh(self, client: Client, given: Mapping[str, str]) -> Answer:
        found = self._issuer.sign_in_of(client, _parameter(given, "REFRESH_TOKEN"))
        if found is None:
            raise not_authorized("Invalid Refresh Token")
        check_hash(client, found[0].username, given.get("SECRET_HASH", ""))
        return _result(self._issuer.renew(client, *found))

    def _holder(self, access: str) -> User:
        user, claims = self._issuer.holder(access)
        if API_SCOPE not in claims["scope"].split():
            raise not_authorized("Access Token does not have required scopes")
        return user


def attributes(user: User) -> list[dict[str, str]]:
    mail = {"email": user.email, "email_verified": str(user.email_verified).lower()} if user.email else {}
    return [{"Name": name, "Value": value} for name, value in {"sub": user.sub, **mail}.items()]


def _result(tokens: Tokens) -> Answer:
    refresh = {"RefreshToken": tokens.refresh} if tokens.refresh else {}
    said = {"AccessToken": tokens.access, "IdToken": tokens.id, "ExpiresIn": tokens.expires_s, "TokenType": "Bearer"}
    return {"ChallengeParameters": {}, "AuthenticationResult": {**said, **refresh}}


def _enabled(client: Client, needed: str, flow: str) -> None:
    if needed not in client.auth_flows:
        raise invalid(f"{flow} flow not enabled for this client")


def _parameter(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise invalid(f"Missing required parameter {name}")
    return given[name]
