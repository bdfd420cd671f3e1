"""Users, roles and sessions of a local cloud, made as their administrators make them: by boto's clients."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import botocore.session

from local.layout import GOVCLOUD_REGION, REGION
from tests.emulators.iam.signers import Keys

Statement = Mapping[str, Any]
REGIONS = {"aws": REGION, "aws-us-gov": GOVCLOUD_REGION}


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*resources: str) -> Statement:
    return {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": list(resources)}


def deny(*resources: str) -> Statement:
    return {**allow(*resources), "Effect": "Deny"}


class People:
    def __init__(self, url: str) -> None:
        self._url = url

    def client(self, service: str, partition: str) -> Any:
        region = REGIONS[partition]
        return botocore.session.get_session().create_client(
            service,
            region_name=region,
            endpoint_url=self._url,
            aws_access_key_id="whoever",
            aws_secret_access_key="reaches the port",
        )

    def user(self, *statements: Statement, partition: str = "aws-us-gov") -> tuple[str, Keys]:
        """The name of a new user with such a policy, and their access key."""
        iam = self.client("iam", partition)
        name = f"user-{uuid.uuid4().hex[:12]}"
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return name, Keys(key["AccessKeyId"], key["SecretAccessKey"], REGIONS[partition])

    def role(self, *statements: Statement, partition: str = "aws-us-gov", path: str = "/") -> str:
        """The ARN of a new role with such a policy."""
        iam = self.client("iam", partition)
        name = f"role-{uuid.uuid4().hex[:12]}"
        trusted = document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
        arn: str = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return arn

    def session(self, role_arn: str, name: str = "one", **narrowed: str) -> Keys:
        """Credentials of a new session of the role."""
        partition = role_arn.split(":")[1]
        assumed = self.client("sts", partition).assume_role(RoleArn=role_arn, RoleSessionName=name, **narrowed)
        key = assumed["Credentials"]
        return Keys(key["AccessKeyId"], key["SecretAccessKey"], REGIONS[partition], key["SessionToken"])
