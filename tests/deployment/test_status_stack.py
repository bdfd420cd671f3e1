"""The published status page: a bucket that nobody else writes to, and a role that reads what everybody may."""

import pytest

from tests.deployment.policies import LEADING_KEYS, STAGES, each, statements
from tests.deployment.stacks import template


def test_the_bucket_is_private_outlives_its_stack_and_takes_nothing_in_the_clear() -> None:
    resources = template("status")["Resources"]
    assert resources["Page"]["DeletionPolicy"] == "Retain"
    assert set(resources["Page"]["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    tls, distribution = resources["PagePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    allowed = distribution["Fn::If"][1]
    assert (allowed["Action"], list(allowed["Condition"])) == ("s3:GetObject", ["StringEquals"])


@pytest.mark.parametrize("stage", STAGES)
def test_the_bucket_is_called_as_the_publisher_may_write_to(stage: str) -> None:
    name = template("status")["Resources"]["Page"]["Properties"]["BucketName"]["Fn::Sub"].replace("${Stage}", stage)
    (writes,) = [each for each in statements(f"policy-{stage}-publisher.json") if "s3:" in str(each["Action"])]
    assert name.startswith(writes["Resource"].partition(":::")[2].partition("*")[0])


@pytest.mark.parametrize("stage", STAGES)
def test_the_publisher_reads_what_everybody_may_and_writes_nowhere_else(stage: str) -> None:
    for statement in statements(f"policy-{stage}-publisher.json"):
        if "dynamodb:" in str(statement["Action"]):
            operator, partitions = LEADING_KEYS[statement["Sid"]]
            assert statement["Condition"] == {f"ForAllValues:{operator}": {"dynamodb:LeadingKeys": partitions}}
            reads = {"dynamodb:GetItem", "dynamodb:Query"}
            assert statement["Sid"] == "Subscribers" or set(each(statement["Action"])) <= reads
