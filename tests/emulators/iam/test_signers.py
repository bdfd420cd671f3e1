"""Requests as their signers send them, judged by the local cloud: a process of its own, as in the local system."""

from typing import Any

import pytest

from emulators.iam.signature import MISMATCH, UNKNOWN
from tests.emulators.iam.people import People, allow, deny, document
from tests.emulators.iam.signers import SIGNERS, Asked, Keys, by_botocore, headers_of_botocore, send
from tests.small_deployments import Gateway

ANY = allow("*")
API = "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:local/api/*"
MODELS = Asked("GET", "/v1/bedrock/models")
INVOKE = Asked("POST", "/v1/bedrock/invoke-model", '{"body":"Grüße"}'.encode(), {"Content-Type": "application/json"})
ASKED = {
    "a plain one": MODELS,
    "a body": INVOKE,
    "a body without a type": Asked("POST", "/v1/bedrock/invoke-model", b"{}"),
    "a query in no order": Asked("GET", "/v1/bedrock/models?provider=Anthropic&b=2&a=1&a=0&c=&B=3"),
    "an escaped query": Asked("GET", "/v1/dashboard/requests?from=2026-11-21T00%3A00%3A00Z&x=a%20b%2Bc~%2F%C3%BC"),
    "an escaped path": Asked("GET", "/v1/bedrock/models/anthropic.claude-v1%3A0%20%C3%BC"),
    "another method": Asked("DELETE", "/v1/bedrock/models/anthropic.claude-v1"),
    "headers with spaces": Asked("GET", "/v1/bedrock/models", b"", {"X-Data-Classification": "a   b  c"}),
}


@pytest.fixture(scope="module")
def keys(people: People) -> Keys:
    """Of a user of GovCloud who may invoke everything."""
    return people.user(ANY)[1]


@pytest.fixture(scope="module")
def session(people: People) -> Keys:
    return people.session(people.role(ANY))


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize("whose", ["keys", "session"])
def test_what_the_signers_of_the_world_sign_is_let_in(
    gateway: Gateway, request: pytest.FixtureRequest, whose: str, signer: Any, asked: Asked
) -> None:
    answer = signer(request.getfixturevalue(whose), asked, gateway)
    assert answer.status == 200, answer.body
    arn, _, body = answer.body.partition(b"\n")
    assert arn.startswith(b"arn:aws-us-gov:")
    assert body == asked.body


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize("wrong", ["secret", "token", "access_key_id", "region"])
def test_one_wrong_credential_is_not_let_in(gateway: Gateway, session: Keys, signer: Any, wrong: str) -> None:
    known = {name: getattr(session, name) for name in ("access_key_id", "secret", "region", "token")}
    text = known[wrong]
    altered = "us-gov-east-1" if wrong == "region" else text[:-1] + ("B" if text[-1] == "A" else "A")
    answer = signer(Keys(**known | {wrong: altered}), INVOKE, gateway)
    assert answer.status == 403
    for secret in (session.secret, session.token or "", altered):
        assert secret.encode() not in answer.body


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("method", "DELETE"),
        ("path", "/v1/bedrock/models/other?a=1"),
        ("path", "/v1/bedrock/models/one?a=2"),
        ("path", "/v1/bedrock/models/one?a=1&b="),
        ("path", "/v1/bedrock/models/one"),
        ("body", b"x"),
    ],
)
def test_what_was_changed_on_the_way_is_not_let_in(gateway: Gateway, keys: Keys, part: str, changed: Any) -> None:
    asked = Asked("GET", "/v1/bedrock/models/one?a=1")
    headers = headers_of_botocore(keys, asked, gateway)
    members = {name: getattr(asked, name) for name in ("method", "path", "body")}
    answer = send(Asked(**members | {part: changed}), headers, gateway)
    assert (answer.status, answer.json["detail"]) == (403, MISMATCH)
    assert send(asked, headers, gateway).status == 200


# whose keys


def test_a_session_signs_as_itself(gateway: Gateway, people: People) -> None:
    role = people.role(ANY, path="/team/east/")
    name = role.rpartition("/")[2]
    said = by_botocore(people.session(role, "i-0abc@x"), MODELS, gateway).body
    assert said == f"arn:aws-us-gov:sts::123456789012:assumed-role/{name}/i-0abc@x\n".encode()


def test_a_key_is_worth_nothing_in_the_other_partition(gateway: Gateway, people: People) -> None:
    for partition, other in (("aws", "us-gov-west-1"), ("aws-us-gov", "us-east-1")):
        _, keys = people.user(ANY, partition=partition)
        assert by_botocore(keys, MODELS, gateway).status == 200
        answer = by_botocore(Keys(keys.access_key_id, keys.secret, other), MODELS, gateway)
        assert (answer.status, answer.json["detail"]) == (403, UNKNOWN)


def test_a_session_is_nobody_without_its_own_token(gateway: Gateway, people: People, session: Keys) -> None:
    another = people.session(people.role(ANY))
    for token in (None, another.token):
        stolen = Keys(session.access_key_id, session.secret, session.region, token)
        assert by_botocore(stolen, MODELS, gateway).json["detail"] == UNKNOWN


def test_a_key_that_is_switched_off_or_deleted_lets_nobody_in_any_more(gateway: Gateway, people: People) -> None:
    name, keys = people.user(ANY)
    iam = people.client("iam", "aws-us-gov")

    def status() -> int:
        return by_botocore(keys, MODELS, gateway).status

    assert status() == 200
    iam.update_access_key(UserName=name, AccessKeyId=keys.access_key_id, Status="Inactive")
    assert status() == 403
    iam.update_access_key(UserName=name, AccessKeyId=keys.access_key_id, Status="Active")
    assert status() == 200
    iam.delete_access_key(UserName=name, AccessKeyId=keys.access_key_id)
    assert status() == 403


# what they may


def test_a_policy_that_is_changed_counts_at_once(gateway: Gateway, people: People) -> None:
    name, keys = people.user()
    iam = people.client("iam", "aws-us-gov")
    answer = by_botocore(keys, MODELS, gateway)
    assert answer.status == 403
    assert answer.json["detail"] == (
        f"User: arn:aws-us-gov:iam::123456789012:user/{name} is not authorized to perform: execute-api:Invoke on "
        "resource: arn:aws-us-gov:execute-api:us-gov-west-1:********9012:local/api/GET/v1/bedrock/models "
        "because no identity-based policy allows the execute-api:Invoke action"
    )
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(ANY))
    assert by_botocore(keys, MODELS, gateway).status == 200
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(ANY, deny(f"{API}/v1/bedrock/*")))
    answer = by_botocore(keys, MODELS, gateway)
    assert (answer.status, "with an explicit deny" in answer.json["detail"]) == (403, True)


def test_groups_and_attached_policies_count(gateway: Gateway, people: People) -> None:
    iam = people.client("iam", "aws-us-gov")
    by_group, keys_by_group = people.user()
    attached, keys_attached = people.user()
    iam.create_group(GroupName="callers")
    iam.put_group_policy(GroupName="callers", PolicyName="own", PolicyDocument=document(ANY))
    iam.add_user_to_group(GroupName="callers", UserName=by_group)
    arn = iam.create_policy(PolicyName="callers", PolicyDocument=document(ANY))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=attached, PolicyArn=arn)
    assert [by_botocore(keys, MODELS, gateway).status for keys in (keys_by_group, keys_attached)] == [200, 200]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(deny("*")), SetAsDefault=True)
    iam.remove_user_from_group(GroupName="callers", UserName=by_group)
    assert [by_botocore(keys, MODELS, gateway).status for keys in (keys_by_group, keys_attached)] == [403, 403]


def test_a_session_may_what_its_role_and_its_own_policy_both_allow(gateway: Gateway, people: People) -> None:
    role = people.role(allow("arn:aws-us-gov:execute-api:*:*:*/GET/*"))
    narrow = people.session(role, Policy=document(allow(f"{API}/v1/bedrock/*")))
    assert by_botocore(narrow, MODELS, gateway).status == 200
    assert by_botocore(narrow, Asked("GET", "/v1/dashboard/requests"), gateway).status == 403
    assert by_botocore(narrow, INVOKE, gateway).status == 403
    assert by_botocore(people.session(role), Asked("GET", "/v1/dashboard/requests"), gateway).status == 200


def test_a_session_of_a_role_that_was_never_made_may_nothing(gateway: Gateway, people: People) -> None:
    keys = people.session("arn:aws-us-gov:iam::123456789012:role/imagined")
    assert by_botocore(keys, MODELS, gateway).status == 403


def test_who_has_rights_in_another_account_has_none_here(gateway: Gateway, people: People) -> None:
    """Moto opens the session in the account that the role's ARN names."""
    answer = by_botocore(people.session("arn:aws-us-gov:iam::999999999999:role/x"), MODELS, gateway)
    assert (answer.status, "no resource-based policy allows" in answer.json["detail"]) == (403, True)


def test_a_large_body_is_hashed_whole(gateway: Gateway, keys: Keys) -> None:
    asked = Asked("POST", INVOKE.path, bytes(5_000_000))
    headers = headers_of_botocore(keys, asked, gateway)
    assert send(asked, headers, gateway).status == 200
    assert send(Asked("POST", INVOKE.path, bytes(4_999_999) + b"x"), headers, gateway).status == 403


def test_a_deny_is_not_dodged_by_writing_the_path_in_another_way(gateway: Gateway, people: People) -> None:
    _, keys = people.user(ANY, deny(f"{API}/v1/bedrock/models/claude"))
    for path in ("claude", "%63laude", "claud%65", "claude/"):
        assert by_botocore(keys, Asked("GET", f"/v1/bedrock/models/{path}"), gateway).status == 403, path
    assert by_botocore(keys, Asked("GET", "/v1/bedrock/models/nova"), gateway).status == 200
