"""A client of KMS that notes what KMS was asked."""

from typing import Any

import boto3

REGION = "us-east-1"


class Client:
    """boto3's client, with notes."""

    def __init__(self, endpoint: str, region: str = REGION) -> None:
        self.endpoint = endpoint
        self.client = boto3.client(
            "kms", region_name=region, endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.asked: list[str] = []

    def create_key(self) -> str:
        arn: str = self.client.create_key()["KeyMetadata"]["Arn"]
        return arn

    def generate_data_key(self, **asked: Any) -> Any:
        self.asked.append("GenerateDataKey")
        return self.client.generate_data_key(**asked)

    def decrypt(self, **asked: Any) -> Any:
        self.asked.append("Decrypt")
        return self.client.decrypt(**asked)


class Remembering(Client):
    """Asks KMS once for each ciphertext and context, and says the same again: for tests that ask a thousand times."""

    def __init__(self, kms: Client) -> None:
        super().__init__(kms.endpoint)
        self._said: dict[str, Any] = {}

    def decrypt(self, **asked: Any) -> Any:
        question = repr(sorted(asked.items()))
        if question not in self._said:
            self._said[question] = super().decrypt(**asked)
        return self._said[question]
