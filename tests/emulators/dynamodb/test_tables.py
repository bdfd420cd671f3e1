"""Tables in a file, as an unmodified client of DynamoDB sees them, before and after the process was killed."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulators.clouds import Cloud, cloud


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud({}, tmp_path_factory.mktemp("cloud")) as started:
        yield started


@pytest.fixture
def dynamodb(sky: Cloud) -> Any:
    return sky.client("dynamodb")


def make(dynamodb: Any, sort: str = "S", **more: Any) -> str:
    name = f"t-{uuid.uuid4().hex}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": sort},
            *({"AttributeName": "other", "AttributeType": "S"} for _ in more),
        ],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    return name


def fill(dynamodb: Any, table: str, *sorts: str, kind: str = "S", **more: Any) -> None:
    for sort in sorts:
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "a"}, "sk": {kind: sort}, **more})


def sorts(answer: Any, kind: str = "S") -> list[str]:
    return [item["sk"][kind] for item in answer["Items"]]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("sk = :b", ["b"]),
        ("sk < :b", ["a"]),
        ("sk <= :b", ["a", "b"]),
        ("sk > :b", ["ba", "c"]),
        ("sk >= :b", ["b", "ba", "c"]),
        ("sk BETWEEN :b AND :c", ["b", "ba", "c"]),
        ("begins_with(sk, :b)", ["b", "ba"]),
    ],
)
def test_a_query_finds_what_its_condition_says(dynamodb: Any, condition: str, found: list[str]) -> None:
    table = make(dynamodb)
    fill(dynamodb, table, "c", "ba", "a", "b")
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "b"}, "sk": {"S": "b"}})
    values = {":a": {"S": "a"}, ":b": {"S": "b"}, ":c": {"S": "c"}}
    asked = {name: value for name, value in values.items() if name == ":a" or name in condition}

    for forward, expected in ((True, found), (False, found[::-1])):
        answer = dynamodb.query(
            TableName=table,
            KeyConditionExpression=f"pk = :a AND {condition}",
            ExpressionAttributeValues=asked,
            ScanIndexForward=forward,
        )
        assert sorts(answer) == expected


def pages(call: Any, **arguments: Any) -> list[list[str]]:
    found = []
    while True:
        answer = call(**arguments)
        found.append(sorts(answer))
        if "LastEvaluatedKey" not in answer:
            return found
        arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


@pytest.mark.parametrize("forward", [True, False])
def test_pages_hold_everything_once(dynamodb: Any, forward: bool) -> None:
    table = make(dynamodb)
    every = [f"{number:02}" for number in range(7)]
    fill(dynamodb, table, *every)
    asked = {"KeyConditionExpression": "pk = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}

    read = pages(dynamodb.query, TableName=table, Limit=3, ScanIndexForward=forward, **asked)
    assert read == ([every[:3], every[3:6], every[6:]] if forward else [every[:3:-1], every[3:0:-1], every[:1]])
    assert [sort for page in pages(dynamodb.scan, TableName=table, Limit=2) for sort in page] == every


def test_a_page_ends_at_a_megabyte(dynamodb: Any) -> None:
    table = make(dynamodb)
    fill(dynamodb, table, "a", "b", "c", "d", text={"S": "x" * 300_000})
    assert pages(dynamodb.scan, TableName=table) == [["a", "b", "c"], ["d"]]


def test_numbers_sort_by_value(dynamodb: Any) -> None:
    table = make(dynamodb, "N")
    fill(dynamodb, table, "10", "9", "-1", "0.5", kind="N")
    answer = dynamodb.query(
        TableName=table,
        KeyConditionExpression="pk = :a AND sk > :n",
        ExpressionAttributeValues={":a": {"S": "a"}, ":n": {"N": "-0.5"}},
    )
    assert sorts(answer, "N") == ["0.5", "9", "10"]


def test_every_kind_of_value_comes_back_as_it_was(dynamodb: Any) -> None:
    table = make(dynamodb)
    item = {
        "pk": {"S": "a"},
        "sk": {"S": "a"},
        "binary": {"B": b"\x00\xff"},
        "list": {"L": [{"B": b"\x01"}, {"M": {"x": {"B": b"\x02"}, "y": {"NULL": True}}}]},
        "number": {"N": "12345678901234567890.5"},
        "strings": {"SS": ["a", "b"]},
        "binaries": {"BS": [b"\x03"]},
        "yes": {"BOOL": True},
    }
    dynamodb.put_item(TableName=table, Item=item)
    dynamodb.update_item(
        TableName=table,
        Key={"pk": {"S": "a"}, "sk": {"S": "a"}},
        UpdateExpression="SET more = :more",
        ExpressionAttributeValues={":more": {"B": b"\x04"}},
    )
    assert dynamodb.scan(TableName=table)["Items"] == [item | {"more": {"B": b"\x04"}}]


def test_a_transaction_is_all_or_nothing(dynamodb: Any) -> None:
    table = make(dynamodb)
    fill(dynamodb, table, "there")
    put = {"TableName": table, "ConditionExpression": "attribute_not_exists(pk)"}
    items = [{"Put": {**put, "Item": {"pk": {"S": "a"}, "sk": {"S": name}}}} for name in ("new", "there")]

    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        dynamodb.transact_write_items(TransactItems=items)
    assert sorts(dynamodb.scan(TableName=table)) == ["there"]

    dynamodb.transact_write_items(TransactItems=items[:1])
    assert sorts(dynamodb.scan(TableName=table)) == ["new", "there"]


def test_an_update_that_fails_makes_no_item(dynamodb: Any) -> None:
    table = make(dynamodb)
    with pytest.raises(ClientError, match="ValidationException"):
        dynamodb.update_item(
            TableName=table,
            Key={"pk": {"S": "a"}, "sk": {"S": "a"}},
            UpdateExpression="SET n = missing + :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
    assert sorts(dynamodb.scan(TableName=table)) == []


def test_an_index_is_looked_through_as_well(dynamodb: Any) -> None:
    index = {
        "IndexName": "by-other",
        "KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    table = make(dynamodb, GlobalSecondaryIndexes=[index])
    fill(dynamodb, table, "a", "b", other={"S": "x"})
    fill(dynamodb, table, "c", other={"S": "y"})
    answer = dynamodb.query(
        TableName=table,
        IndexName="by-other",
        KeyConditionExpression="other = :x",
        ExpressionAttributeValues={":x": {"S": "x"}},
    )
    assert sorted(sorts(answer)) == ["a", "b"]


def test_batches_write_what_is_read(dynamodb: Any) -> None:
    table = make(dynamodb)
    fill(dynamodb, table, "c")
    put = [{"PutRequest": {"Item": {"pk": {"S": "a"}, "sk": {"S": name}}}} for name in "ab"]
    delete = [{"DeleteRequest": {"Key": {"pk": {"S": "a"}, "sk": {"S": "c"}}}}]
    dynamodb.batch_write_item(RequestItems={table: put + delete})
    keys = [{"pk": {"S": "a"}, "sk": {"S": name}} for name in "abc"]
    read = dynamodb.batch_get_item(RequestItems={table: {"Keys": keys}})["Responses"][table]
    assert sorted(item["sk"]["S"] for item in read) == ["a", "b"]


def test_what_names_no_items_sees_and_makes_whole_tables(dynamodb: Any) -> None:
    table = make(dynamodb)
    fill(dynamodb, table, "a", "b")
    backup = dynamodb.create_backup(TableName=table, BackupName="backup")["BackupDetails"]["BackupArn"]
    fill(dynamodb, table, "c")
    dynamodb.restore_table_from_backup(TargetTableName=f"{table}-2", BackupArn=backup)

    assert sorts(dynamodb.scan(TableName=f"{table}-2")) == ["a", "b"]
    assert sorts(dynamodb.scan(TableName=table)) == ["a", "b", "c"]


def test_a_table_that_is_deleted_leaves_nothing_to_the_next_of_its_name(dynamodb: Any) -> None:
    table = make(dynamodb)
    fill(dynamodb, table, "a")
    described = dynamodb.describe_table(TableName=table)["Table"]
    dynamodb.delete_table(TableName=table)
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        **{name: described[name] for name in ("KeySchema", "AttributeDefinitions")},
    )
    assert sorts(dynamodb.scan(TableName=table)) == []


def test_what_was_made_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    kept = ("--kept", str(tmp_path / "cloud.sqlite"))
    with cloud({}, tmp_path, *kept) as first:
        table = make(first.client("dynamodb"))
        fill(first.client("dynamodb"), table, "a")
        key = first.client("kms").create_key()["KeyMetadata"]["Arn"]
        sealed = first.client("kms").encrypt(KeyId=key, Plaintext=b"words")["CiphertextBlob"]
        first.client("secretsmanager").create_secret(Name="name", SecretString="value")
        first.client("iam").create_user(UserName="someone")
        first.kill()

    with cloud({}, tmp_path, *kept) as second:
        assert second.access_key_id == first.access_key_id
        assert sorts(second.client("dynamodb").scan(TableName=table)) == ["a"]
        assert second.client("kms").decrypt(CiphertextBlob=sealed)["Plaintext"] == b"words"
        assert second.client("secretsmanager").get_secret_value(SecretId="name")["SecretString"] == "value"
        assert "someone" in [user["UserName"] for user in second.client("iam").list_users()["Users"]]
    assert (tmp_path / "cloud.sqlite").stat().st_mode & 0o777 == 0o600
