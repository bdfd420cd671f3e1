"""API Gateway's AWS_IAM authoriser, for the machine that has no API Gateway.

It checks what a request says of itself: the form of its signature, its date, its region. Secrets and policies are
not here but in the local cloud's IAM, which is asked about every request, so that a key that was deleted or a policy
that was changed counts at once. As on AWS, a signed request may be repeated until its date is too old.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import msgspec
import urllib3

from emulators.clock import Clock
from emulators.iam.refusal import AccessDenied, NoJudge, WrongService
from emulators.iam.signature import (
    Authorization,
    SignedRequest,
    authorization,
    by_name,
    canonical_request,
    string_to_sign,
)

SERVICE = "execute-api"
MOST_SKEW = timedelta(minutes=5)
JUDGED_AT = "/_cloister/iam/judge"
"""The path in the local cloud at which it judges; no AWS service has it."""

_DATE = "%Y%m%dT%H%M%SZ"
_PATIENCE_S = 5.0
_CONNECTIONS = 32  # that stay open to the local cloud


class Question(msgspec.Struct, frozen=True):
    """May this request come in? All that it takes to say so, of which nothing is a secret."""

    access_key_id: str
    token: str
    scope: str  # date/region/execute-api/aws4_request
    to_sign: str
    signature: str
    method: str
    path: str  # decoded, without its first slash


class Owner(msgspec.Struct, frozen=True):
    """Whose signature it is."""

    arn: str
    account: str


Judge = Callable[[Question], Owner]
"""Raises AccessDenied, in API Gateway's words."""


class Authoriser:
    """Says who signed a request."""

    def __init__(self, judge: Judge, regions: frozenset[str], clock: Clock) -> None:
        """`regions`: those whose API Gateway this stands for."""
        self._judge = judge
        self._regions = regions
        self._clock = clock

    def __call__(self, request: SignedRequest) -> Mapping[str, str]:
        """Members of API Gateway's `requestContext.identity`. Raises AccessDenied, NoJudge."""
        headers = by_name(request)
        claimed = authorization(headers)
        self._check_date(claimed.dated)
        self._check_scope(claimed)
        canonical = canonical_request(request, headers, claimed.signed)
        owner = self._judge(
            Question(
                access_key_id=claimed.access_key_id,
                token=claimed.token,
                scope=claimed.scope,
                to_sign=string_to_sign(claimed.scope, claimed.dated, canonical),
                signature=claimed.signature,
                method=request.method,
                path=unquote(request.path.decode("latin-1").strip("/")),
            )
        )
        return {
            "userArn": owner.arn,
            "user": owner.arn,
            "caller": owner.arn,
            "accountId": owner.account,
            "accessKey": claimed.access_key_id,
        }

    def _check_date(self, dated: str) -> None:
        try:
            signed_at = datetime.strptime(dated, _DATE).replace(tzinfo=UTC)
        except ValueError:
            raise AccessDenied(
                "Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601"
            ) from None
        now = datetime.fromtimestamp(self._clock() / 1000, UTC)
        if signed_at < now - MOST_SKEW:
            raise AccessDenied(f"Signature expired: {dated} is now earlier than {now - MOST_SKEW:{_DATE}}.")
        if signed_at > now + MOST_SKEW:
            raise AccessDenied(f"Signature not yet current: {dated} is still later than {now + MOST_SKEW:{_DATE}}.")

    def _check_scope(self, claimed: Authorization) -> None:
        expected = ({claimed.dated[:8]}, self._regions, {SERVICE}, {"aws4_request"})
        wrong = (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
            "Credential should be scoped to a valid region.",
            f"Credential should be scoped to correct service: '{SERVICE}'.",
            "Credential should be scoped with a valid terminator: 'aws4_request'.",
        )
        parts = claimed.scope.split("/")
        if len(parts) != len(expected):
            raise AccessDenied("Credential must have exactly 5 slash-delimited elements.")
        for part, allowed, text in zip(parts, expected, wrong, strict=True):
            if part not in allowed:
                raise WrongService(text, part) if allowed == {SERVICE} else AccessDenied(text)


class LocalCloud:
    """A judge that asks the local cloud. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}{JUDGED_AT}"
        # Once more, because the cloud may close a connection just as it is used again; asking twice changes nothing.
        again = urllib3.Retry(1, allowed_methods=None, redirect=0)
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS, retries=again, timeout=_PATIENCE_S)

    def __call__(self, question: Question) -> Owner:
        """Raises AccessDenied; NoJudge where the cloud does not answer."""
        try:
            answer = self._pool.request("POST", self._url, body=msgspec.json.encode(question))
        except urllib3.exceptions.HTTPError:
            raise NoJudge from None
        if answer.status == 403:
            raise AccessDenied(answer.data.decode())
        return msgspec.json.decode(answer.data, type=Owner)
