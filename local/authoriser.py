"""The adapter between the gateway's bridge and the authoriser that stands in for API Gateway's."""

from collections.abc import Mapping

from chalicelib.http import bridge
from chalicelib.http.bridge import Iam
from chalicelib.http.callers import OR_BRING_A_KEY
from chalicelib.refusal import Forbidden, NoCapacity
from emulators.iam.authoriser import Authoriser
from emulators.iam.refusal import AccessDenied, NoJudge, WrongService
from emulators.iam.signature import SignedRequest


def iam_for_bridge(authoriser: Authoriser) -> Iam:
    """What the bridge asks who signed a request. Raises Forbidden; NoCapacity where nobody can judge."""

    def who_signed(request: bridge.SignedRequest) -> Mapping[str, str]:
        asked = SignedRequest(request.method, request.path, request.query, request.headers, request.body)
        try:
            return authoriser(asked)
        except WrongService as denied:
            # What AWS does not say, and a client of Bedrock's would not guess: it signs for `bedrock` by itself.
            way = f" {OR_BRING_A_KEY}" if denied.service == "bedrock" else ""
            raise Forbidden(denied.text + way) from None
        except AccessDenied as denied:
            raise Forbidden(denied.text) from None
        except NoJudge:
            raise NoCapacity("The local cloud's IAM does not answer. Try again shortly.", retry_in_ms=1_000) from None

    return who_signed
