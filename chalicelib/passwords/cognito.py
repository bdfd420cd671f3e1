"""A user pool of Amazon Cognito, which knows the passwords of those who have none at their company."""

from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_client import AwsClient
from chalicelib.clock import Clock
from chalicelib.passwords import BROKEN, NOT_RENEWED, NOT_SIGNED_IN, Issued
from chalicelib.refusal import NoCapacity, Unauthenticated
from chalicelib.settings import Settings
from chalicelib.sight import Telemetry

DEADLINE_MS = 5_000
"""Passwords are hashed slowly, on purpose."""

OF_THE_PERSON = {
    *("NotAuthorizedException", "UserNotFoundException", "UserNotConfirmedException"),
    *("PasswordResetRequiredException", "UserLambdaValidationException"),
}
"""What Cognito refuses somebody with. Anything else is the deployment's fault, or Cognito's own."""


class Cognito:
    """Implements Issuer. https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_InitiateAuth.html

    The call is not signed: a role of ours would change nothing.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Clock) -> None:
        """Of the pool that is the operator's issuer, in whichever region it is: its id begins with that."""
        self._client_id = settings.signin_client_id
        region = settings.issuer.rstrip("/").rpartition("/")[2].partition("_")[0]
        there = msgspec.structs.replace(settings, region=region, store_deadline_ms=DEADLINE_MS)
        # Once: Cognito counts attempts, too, and one that is repeated counts twice.
        self._cognito = AwsClient("cognito-idp", there, attempts=1)
        self._telemetry = telemetry
        self._clock = clock

    def by_password(self, mail: str, password: str) -> Issued:
        return self._asked("USER_PASSWORD_AUTH", {"USERNAME": mail, "PASSWORD": password}, NOT_SIGNED_IN)

    def by_refresh(self, token: str) -> Issued:
        issued = self._asked("REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": token}, NOT_RENEWED)
        # A pool that does not rotate refresh tokens gives none with it: the one that was sent stays good.
        return issued if issued.refresh else msgspec.structs.replace(issued, refresh=token)

    def _asked(self, flow: str, parameters: dict[str, str], refused: str) -> Issued:
        code = "Unreachable"
        try:
            answer = self._cognito().initiate_auth(ClientId=self._client_id, AuthFlow=flow, AuthParameters=parameters)
        except ClientError as error:
            code = error.response["Error"]["Code"]
        except BotoCoreError:
            pass
        else:
            return _issued(answer, refused)
        # Outside of `except`: neither error is to be the context of another, for what was sent may be in their texts.
        if code in OF_THE_PERSON:
            raise Unauthenticated(refused)
        self._telemetry.count("SignInBroken", self._clock(), code=code)
        raise NoCapacity(BROKEN, retry_in_ms=1_000)


def _issued(answer: dict[str, Any], refused: str) -> Issued:
    result = answer.get("AuthenticationResult")
    if not result:  # a challenge: a second factor, or a password that is to be changed first
        raise Unauthenticated(refused)
    return Issued(result["AccessToken"], result.get("IdToken", ""), result.get("RefreshToken", ""), result["ExpiresIn"])
