"""Requests signed by botocore, and the authoriser that knows their key."""

import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.iam import Authoriser, Owner

KEY_ID, SECRET, REGION = "AKIAEXAMPLEOPERATOR0", "example/secret+of=the/operator", "us-east-1"
OWNER = Owner("arn:aws:iam::123456789012:user/ops", "123456789012")


class Drifting:
    """The machine's clock, which a test may set wrong."""

    ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


CLOCK = Drifting()
AUTHORISER = Authoriser(KEY_ID, SECRET, lambda: OWNER, REGION, CLOCK)


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
