"""Whether a signature is right, and whether its principal may invoke a route: IAM's part of API Gateway's authoriser.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html

In the local cloud's process, where the secrets are. Gateways ask by HTTP; the answer never tells a secret.
"""

import hmac
from collections.abc import Callable

import msgspec
from moto.utilities.utils import get_partition

from emulators.asgi import Receive, Scope, Send, whole_body
from emulators.clock import Clock
from emulators.iam.authoriser import Owner, Question
from emulators.iam.policy import Call, Caller
from emulators.iam.principals import Expired, Principal, Unknown
from emulators.iam.refusal import AccessDenied
from emulators.iam.signature import EXPIRED, MISMATCH, UNKNOWN, signature

ACTION = "execute-api:Invoke"
API_ID, STAGE = "local", "api"
"""As policies name the local gateway; `api` is Chalice's own name for a stage."""

Find = Callable[[str, str, str, int], Principal]
"""`principals.find`."""


class Judge:
    """Judges requests to the APIs of `account`, one in each region."""

    def __init__(self, find: Find, account: str, clock: Clock) -> None:
        self._find = find
        self._account = account
        self._clock = clock

    def __call__(self, question: Question) -> Owner:
        """Raises AccessDenied, in API Gateway's words."""
        region = question.scope.split("/")[1]
        partition = get_partition(region)
        principal = self._known(question, partition)
        right = signature(principal.secret, question.scope, question.to_sign)
        if not hmac.compare_digest(right.encode(), question.signature.encode()):
            raise AccessDenied(MISMATCH)
        called = f"{API_ID}/{STAGE}/{question.method}/{question.path}"
        if why := self._refusal(principal, f"arn:{partition}:execute-api:{region}:{self._account}:{called}"):
            raise AccessDenied(
                f"User: {principal.caller.arn} is not authorized to perform: {ACTION} on resource: "
                f"arn:{partition}:execute-api:{region}:********{self._account[-4:]}:{called} {why}"
            )
        return Owner(principal.caller.arn, principal.caller.account)

    def _known(self, question: Question, partition: str) -> Principal:
        try:
            return self._find(question.access_key_id, question.token, partition, self._clock())
        except Unknown:
            raise AccessDenied(UNKNOWN) from None
        except Expired:
            raise AccessDenied(EXPIRED) from None

    def _refusal(self, principal: Principal, resource: str) -> str | None:
        if principal.caller.account != self._account:  # the API has no policy of its own, which would have to let it in
            return f"because no resource-based policy allows the {ACTION} action"
        return principal.identity.refusal(Call(principal.caller, ACTION, resource, {}, _facts(principal.caller)))


class Door:
    """An ASGI application: a question in, an owner out; 403 and its reason where the request may not come in."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        if body is None:
            return
        status, answer = self._answer(body)
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, body: bytes) -> tuple[int, bytes]:
        try:
            return 200, msgspec.json.encode(self._judge(msgspec.json.decode(body, type=Question)))
        except AccessDenied as refused:
            return 403, refused.text.encode()


def _facts(caller: Caller) -> dict[str, tuple[str, ...]]:
    return {"aws:principalarn": (caller.principal_arn,), "aws:principalaccount": (caller.account,)}
