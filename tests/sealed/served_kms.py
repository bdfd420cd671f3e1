"""A KMS behind real HTTP, and a client of it that notes what it was asked. For tests of what is sealed by KMS."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


class Client:
    """boto3's client, with notes."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = boto3.client(
            "kms", region_name=REGION, endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.asked: list[str] = []

    def create_key(self) -> str:
        arn: str = self.client.create_key()["KeyMetadata"]["Arn"]
        return arn

    def forget_all_keys(self) -> None:
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def generate_data_key(self, **asked: Any) -> Any:
        self.asked.append("GenerateDataKey")
        return self.client.generate_data_key(**asked)

    def decrypt(self, **asked: Any) -> Any:
        self.asked.append("Decrypt")
        return self.client.decrypt(**asked)


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a KMS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(served: str) -> Client:
    return Client(served)
