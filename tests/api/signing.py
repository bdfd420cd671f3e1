"""Requests signed by botocore, and an authoriser that knows one operator."""

import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulators.iam.authoriser import Authoriser, Owner
from emulators.iam.judge import Judge
from emulators.iam.policy import Caller, Identity, identity_policy
from emulators.iam.principals import Principal, Unknown
from local.authoriser import iam_for_bridge
from tests.small_deployments import OPERATOR, Answer, Gateway

KEY_ID, SECRET, REGION = "AKIAEXAMPLEOPERATOR0", "example/secret+of=the/operator", "us-east-1"
OWNER = Owner(OPERATOR, "123456789012")


class Drifting:
    """The machine's clock, which a test may set wrong."""

    ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


def _operator(access_key_id: str, token: str, partition: str, now_ms: int) -> Principal:
    """The only principal that there is."""
    if (access_key_id, token, partition) != (KEY_ID, "", "aws"):
        raise Unknown
    everything = identity_policy('{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}')
    return Principal(Caller(OWNER.arn, OWNER.account, KEY_ID), Identity((everything,)), SECRET)


CLOCK = Drifting()
AUTHORISER = Authoriser(Judge(_operator, OWNER.account, CLOCK), frozenset({REGION}), CLOCK)
IAM = iam_for_bridge(AUTHORISER)


def signed(
    method: str,
    url: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    key_id: str = KEY_ID,
    secret: str = SECRET,
    token: str | None = None,
    region: str = REGION,
    service: str = "execute-api",
) -> dict[str, str]:
    """The headers to send."""
    request = AWSRequest(method, url, headers or {}, body)
    SigV4Auth(Credentials(key_id, secret, token), service, region).add_auth(request)
    return dict(request.headers.items())


def call(gateway: Gateway, method: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """A request that the operator signs."""
    url = f"http://{gateway.host}:{gateway.port}{path}"
    return gateway.call(method, path, body=body, headers=signed(method, url, body, headers))
