"""What the policies of a caller say of one route, statement by statement; and how long a session is somebody's."""

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import pytest
from moto.sts.models import sts_backends

from emulators.iam import principals
from emulators.iam.authoriser import Owner, Question
from emulators.iam.judge import Judge
from emulators.iam.policy import Caller, Identity, identity_policy
from emulators.iam.principals import Principal
from emulators.iam.refusal import AccessDenied
from emulators.iam.signature import EXPIRED, signature

ACCOUNT = "111122223333"
SECRET = "example/secret"
USER = Caller(f"arn:aws-us-gov:iam::{ACCOUNT}:user/ada", ACCOUNT, "AKIA")
SCOPE = "20261121/us-gov-west-1/execute-api/aws4_request"
INVOKE = "execute-api:Invoke"
API = f"arn:aws-us-gov:execute-api:us-gov-west-1:{ACCOUNT}:local"

Statement = Mapping[str, Any]


def asked(path: str = "v1/bedrock/models", method: str = "GET", secret: str = SECRET) -> Question:
    return Question("AKIA", "", SCOPE, "text", signature(secret, SCOPE, "text"), method, path)


def judged(question: Question, *statements: Statement, session: Statement | None = None) -> str:
    """ "", or why the caller may not come in."""
    narrowed = identity_policy(json.dumps({"Statement": session})) if session else None
    identity = Identity((identity_policy(json.dumps({"Statement": statements})),), narrowed)
    judge = Judge(lambda *_: Principal(USER, identity, SECRET), ACCOUNT, lambda: 0)
    try:
        assert judge(question) == Owner(USER.arn, ACCOUNT)
    except AccessDenied as denied:
        return denied.text
    return ""


def allow(*resources: str, action: str = INVOKE, **members: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": list(resources), **members}


def deny(*resources: str, **members: Any) -> Statement:
    return {**allow(*resources, **members), "Effect": "Deny"}


@pytest.mark.parametrize(
    ("statements", "let_in"),
    [
        ([], False),
        ([allow("*")], True),
        ([allow("*", action="*")], True),
        ([allow("*", action="EXECUTE-API:invoke")], True),
        ([allow("*", action="execute-api:*")], True),
        ([allow("*", action="execute-api:ManageConnections")], False),
        ([allow("*", action="bedrock:*")], False),
        # The ARN of a method: every part of it counts.
        ([allow(f"{API}/api/GET/v1/bedrock/models")], True),
        ([allow(f"{API}/api/GET/v1/bedrock/*")], True),
        ([allow(f"{API}/*/GET/*")], True),
        ([allow(f"{API}/*")], True),
        ([allow("arn:aws-us-gov:execute-api:*:*:*")], True),
        ([allow(f"{API}/api/GET/v1/bedrock/model?")], True),
        ([allow(f"{API}/api/POST/v1/bedrock/models")], False),
        ([allow(f"{API}/prod/GET/v1/bedrock/models")], False),
        ([allow(f"{API}/api/GET/v1/bedrock")], False),
        ([allow(f"{API}/api/GET/v1/dashboard/*")], False),
        ([allow(API.replace("us-gov-west-1", "us-gov-east-1") + "/*")], False),
        ([allow(API.replace(ACCOUNT, "444455556666") + "/*")], False),
        ([allow(API.replace(":local", ":other") + "/*")], False),
        ([allow(API.replace("aws-us-gov", "aws") + "/*")], False),
        ([allow(API.replace("execute-api", "apigateway") + "/*")], False),
        # A deny wins, wherever it stands.
        ([allow("*"), deny("*")], False),
        ([deny("*"), allow("*")], False),
        ([allow("*"), deny(f"{API}/api/*/v1/bedrock/*")], False),
        ([allow("*"), deny(f"{API}/api/POST/*")], True),
        ([allow("*"), deny(API.replace("aws-us-gov", "aws") + "/*")], True),
        # Exceptions.
        ([{"Effect": "Allow", "Action": INVOKE, "NotResource": f"{API}/api/*/admin/*"}], True),
        ([{"Effect": "Allow", "Action": INVOKE, "NotResource": f"{API}/api/*/v1/*"}], False),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], True),
        # Conditions on the caller; what is not known here helps nobody.
        ([allow("*", Condition={"ArnEquals": {"aws:PrincipalArn": USER.arn}})], True),
        ([allow("*", Condition={"StringEquals": {"aws:PrincipalAccount": "444455556666"}})], False),
        ([allow("*", Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})], False),
        ([allow("*"), deny("*", Condition={"NotIpAddress": {"aws:SourceIp": "0.0.0.0/0"}})], False),
        ([allow("arn:aws-us-gov:execute-api:*:${aws:PrincipalAccount}:*")], False),
    ],
)
def test_a_route_is_open_as_far_as_policies_open_it(statements: list[Statement], let_in: bool) -> None:
    assert (judged(asked(), *statements) == "") is let_in


def test_a_session_policy_only_narrows() -> None:
    wide, narrow = allow("*"), allow(f"{API}/api/GET/*")
    assert judged(asked(), wide, session=narrow) == ""
    assert "no session policy allows" in judged(asked(method="POST"), wide, session=narrow)
    assert "no identity-based policy allows" in judged(asked(), session=wide)
    assert "explicit deny" in judged(asked(), wide, session=deny("*"))


def test_a_wrong_signature_is_told_nothing_of_policies() -> None:
    assert judged(asked(secret="guessed")) == judged(asked(secret="guessed"), allow("*")) != ""
    assert "not authorized" not in judged(asked(secret="guessed"))


def test_a_refusal_names_the_route_and_hides_most_of_the_account() -> None:
    text = judged(asked())
    assert f"User: {USER.arn} is not authorized to perform: {INVOKE}" in text
    assert f"********{ACCOUNT[-4:]}:local/api/GET/v1/bedrock/models because no identity-based policy" in text


def test_a_principal_never_shows_its_secret() -> None:
    assert SECRET not in repr(Principal(USER, Identity(()), SECRET))


def test_a_session_ends_when_it_was_to_end() -> None:
    role = f"arn:aws-us-gov:iam::{ACCOUNT}:role/x"
    sts = sts_backends[ACCOUNT]["aws-us-gov"]
    session = sts.assume_role("us-gov-west-1", "one", role, "", 900, "")
    ends_ms = int(session.expiration.replace(tzinfo=UTC).timestamp() * 1000)

    def found(now_ms: int) -> Principal:
        return principals.find(session.access_key_id, session.session_token, "aws-us-gov", now_ms)

    assert found(ends_ms - 1_000).caller == Caller(session.arn, ACCOUNT, session.access_key_id, role)
    with pytest.raises(principals.Expired):
        found(ends_ms + 1_000)
    judge = Judge(principals.find, ACCOUNT, lambda: ends_ms + 1_000)
    question = Question(session.access_key_id, session.session_token, SCOPE, "text", "0" * 64, "GET", "x")
    with pytest.raises(AccessDenied, match=EXPIRED):
        judge(question)
