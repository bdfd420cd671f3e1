"""Items are in a file, and in memory only during the call at hand."""

import gc
import io
import json
from typing import Any

from moto.dynamodb.models.dynamo_type import Item

from emulators.dynamodb import Rows, Service

TABLE = {
    "TableName": "in-memory",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
}


def ask(service: Service, operation: str, **parameters: Any) -> int:
    body = json.dumps(parameters).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "RAW_URI": "/",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_X_AMZ_TARGET": f"DynamoDB_20120810.{operation}",
        "CONTENT_TYPE": "application/x-amz-json-1.0",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
    return service.answer(environ, body)[0]


def test_no_call_leaves_an_item_behind() -> None:
    service = Service(Rows(None))
    assert ask(service, "CreateTable", **TABLE) == 200
    for name in "abc":
        assert ask(service, "PutItem", TableName="in-memory", Item={"pk": {"S": name}}) == 200
        update = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
        assert ask(service, "UpdateItem", TableName="in-memory", Key={"pk": {"S": name}}, **update) == 200
        assert ask(service, "PutItem", TableName="in-memory", Item={"no": {"S": name}}) == 400
    assert ask(service, "Scan", TableName="in-memory") == 200
    assert ask(service, "DeleteTable", TableName="in-memory") == 200

    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, Item)] == []
