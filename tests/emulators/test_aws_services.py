"""Moto behind the local cloud: what our proofs and our code rest on."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.emulators.conftest import Sky

THREADS = 32
EACH = 10


def _table(sky: Sky) -> str:
    name = f"numbers-{uuid.uuid4().hex}"
    sky.aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def test_no_update_is_lost_under_32_threads(sky: Sky) -> None:
    table = _table(sky)
    dynamodb = sky.aws.client("dynamodb")

    def add(_: int) -> None:
        for _ in range(EACH):
            dynamodb.update_item(
                TableName=table,
                Key={"pk": {"S": "one"}},
                UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(add, range(THREADS)))

    item = dynamodb.get_item(TableName=table, Key={"pk": {"S": "one"}}, ConsistentRead=True)["Item"]
    assert item["n"] == {"N": str(THREADS * EACH)}


def test_of_32_conditional_writes_one_wins_and_the_others_see_what_it_wrote(sky: Sky) -> None:
    table = _table(sky)
    dynamodb = sky.aws.client("dynamodb")

    def claim(number: int) -> str:
        try:
            dynamodb.put_item(
                TableName=table,
                Item={"pk": {"S": "one"}, "by": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as lost:
            return str(lost.response["Item"]["by"]["N"])
        return str(number)

    with ThreadPoolExecutor(THREADS) as threads:
        seen = Counter(threads.map(claim, range(THREADS)))

    assert len(seen) == 1


def test_the_access_key_that_is_told_exists_in_iam(sky: Sky) -> None:
    identity = sky.aws.client("sts").get_caller_identity()
    user = identity["Arn"].split("/")[-1]
    keys = sky.aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]

    assert [key["AccessKeyId"] for key in keys] == [sky.aws.access_key_id]


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("kms", "create_key", {}),
        ("secretsmanager", "create_secret", {"Name": "name", "SecretString": "value"}),
        ("s3", "create_bucket", {"Bucket": "a-bucket"}),
        ("cognito-idp", "create_user_pool", {"PoolName": "users"}),
        ("cloudwatch", "put_metric_data", {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.0}]}),
    ],
)
def test_the_services_of_the_design_are_there(
    sky: Sky, service: str, operation: str, arguments: dict[str, object]
) -> None:
    answer = getattr(sky.aws.client(service), operation)(**arguments)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
