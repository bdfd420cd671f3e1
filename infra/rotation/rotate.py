"""Rotates the access key with which a gateway reaches Bedrock in another account, out of its own account.

Secrets Manager calls the function four times, once for each step, and repeats a step that failed:
https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html

The key renews itself: its user may make, disable and delete keys of its own (infra/commercial.yaml), so that no other
credential of that account is needed here. IAM lets a user have two keys: the one in use, and for the time until the
next rotation the one before it, disabled, as a way back. Nothing of a key is in any error or log.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

ATTEMPTS = 12  # a new key is known everywhere within seconds, not at once
PAUSE_S = 5.0
SESSION = "cloister-rotation"

# Where it logs its work, botocore logs all of it: answers of Secrets Manager and IAM, too.
logging.getLogger("botocore").setLevel(logging.INFO)

Secret = Mapping[str, str]


class CannotRotate(Exception):
    """The secret is not one that can be rotated like this; the text says what to do and quotes nothing of it."""


class Rotation:
    """The change of one secret to its version `token`, which Secrets Manager has announced."""

    def __init__(self, secret_id: str, token: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """`sleep`: for so many seconds."""
        self._secrets = botocore.session.get_session().create_client("secretsmanager")
        self._secret_id = secret_id
        self._token = token
        self._sleep = sleep

    def create(self) -> None:
        """Let the current key make its successor, unless that was done already."""
        if self._pending() is not None:
            return
        current = self._current()
        iam = _client("iam", current)
        # What is there besides the current key is its predecessor, or of a rotation that died right here.
        for other in _others(iam, current):
            iam.delete_access_key(AccessKeyId=other)
        made = iam.create_access_key()["AccessKey"]
        new = {**current, "access_key_id": made["AccessKeyId"], "secret_access_key": made["SecretAccessKey"]}
        self._secrets.put_secret_value(
            SecretId=self._secret_id,
            ClientRequestToken=self._token,
            SecretString=json.dumps(new),
            VersionStages=["AWSPENDING"],
        )

    def set(self) -> None:
        """Nothing is left to do: IAM knows a key since it made it."""

    def test(self) -> None:
        """Do with the new key what the gateway will do with it. Raises: ClientError."""
        new = self._new()
        sts = _client("sts", new)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if "role_arn" in new:
                    sts.assume_role(RoleArn=new["role_arn"], RoleSessionName=SESSION)
                else:
                    sts.get_caller_identity()
            except ClientError:
                if attempt == ATTEMPTS:
                    raise
                self._sleep(PAUSE_S)
            else:
                return

    def finish(self) -> None:
        """Make the new version the current one, and disable the key before."""
        new = self._new()
        stages = self._stages()
        if "AWSCURRENT" not in stages[self._token]:
            self._secrets.update_secret_version_stage(
                SecretId=self._secret_id,
                VersionStage="AWSCURRENT",
                MoveToVersionId=self._token,
                RemoveFromVersionId=next(version for version, held in stages.items() if "AWSCURRENT" in held),
            )
        iam = _client("iam", new)
        for other in _others(iam, new):
            iam.update_access_key(AccessKeyId=other, Status="Inactive")

    def _stages(self) -> Mapping[str, list[str]]:
        stages: Mapping[str, list[str]] = self._secrets.describe_secret(SecretId=self._secret_id)["VersionIdsToStages"]
        if self._token not in stages:
            raise CannotRotate("Secrets Manager has announced no such version. Start with `rotate-secret`.")
        return stages

    def _current(self) -> Secret:
        self._stages()
        version = self._secrets.get_secret_value(SecretId=self._secret_id, VersionStage="AWSCURRENT")
        return read(version.get("SecretString", ""))

    def _pending(self) -> Secret | None:
        try:
            version = self._secrets.get_secret_value(SecretId=self._secret_id, VersionId=self._token)
        except self._secrets.exceptions.ResourceNotFoundException:  # announced, and without a value yet
            return None
        return read(version.get("SecretString", ""))

    def _new(self) -> Secret:
        new = self._pending()
        if new is None:
            raise CannotRotate("The version has no value. Start with `rotate-secret`, which makes one.")
        return new


STEPS: dict[str, Callable[[Rotation], None]] = {
    "createSecret": Rotation.create,
    "setSecret": Rotation.set,
    "testSecret": Rotation.test,
    "finishSecret": Rotation.finish,
}


def handler(event: Mapping[str, str], _context: object) -> None:
    """One step of a rotation, as Secrets Manager asks for it. Raises: CannotRotate; ClientError."""
    STEPS[event["Step"]](Rotation(event["SecretId"], event["ClientRequestToken"]))


def read(text: str) -> Secret:
    """The access key in a secret's text. Raises: CannotRotate."""
    try:
        secret = json.loads(text)
        whole = {"access_key_id", "secret_access_key", "region"} <= secret.keys() and "bedrock_api_key" not in secret
    except (AttributeError, ValueError):
        whole = False
    if not whole:
        raise CannotRotate(
            "The secret is not an access key with a region. An API key of Bedrock cannot make its successor: "
            "docs/govcloud.md says how to replace it."
        )
    found: Secret = secret
    return found


def _client(service: str, secret: Secret) -> Any:
    """Of the partition of the secret's region, and with its key."""
    return botocore.session.get_session().create_client(
        service,
        region_name=secret["region"],
        aws_access_key_id=secret["access_key_id"],
        aws_secret_access_key=secret["secret_access_key"],
    )


def _others(iam: Any, secret: Secret) -> list[str]:
    """The ids of the user's other keys."""
    listed = iam.list_access_keys()["AccessKeyMetadata"]
    return [key["AccessKeyId"] for key in listed if key["AccessKeyId"] != secret["access_key_id"]]
