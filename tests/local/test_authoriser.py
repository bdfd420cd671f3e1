"""What the authoriser says is said to the bridge in the gateway's own words."""

import pytest

from chalicelib.http.bridge import SignedRequest
from chalicelib.refusal import Forbidden, NoCapacity
from emulators.iam.authoriser import Authoriser, LocalCloud
from emulators.iam.signature import INCOMPLETE
from local.authoriser import iam_for_bridge
from tests.api.signing import CLOCK, IAM, OWNER, REGION, signed

HOST = "gateway.test:8000"


def _request(headers: dict[str, str]) -> SignedRequest:
    arrived = [(name.lower().encode(), value.encode()) for name, value in {"Host": HOST, **headers}.items()]
    return SignedRequest("POST", b"/admin/tenants", b"", arrived, b"body")


def test_who_signed_is_told() -> None:
    assert IAM(_request(signed("POST", f"http://{HOST}/admin/tenants", b"body")))["userArn"] == OWNER.arn


def test_who_may_not_come_in_is_told_why() -> None:
    with pytest.raises(Forbidden) as refused:
        IAM(_request({}))
    assert refused.value.text == INCOMPLETE


def test_without_the_cloud_nobody_is_let_in() -> None:
    iam = iam_for_bridge(Authoriser(LocalCloud("http://127.0.0.1:9"), frozenset({REGION}), CLOCK))
    with pytest.raises(NoCapacity) as refused:
        iam(_request(signed("POST", f"http://{HOST}/admin/tenants", b"body")))
    assert refused.value.retry_in_ms == 1_000
