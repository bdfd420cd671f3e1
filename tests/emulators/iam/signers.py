"""Who signs, and with what: botocore, requests-aws4auth, and the AWS SDK for JavaScript."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import requests
from requests_aws4auth import AWS4Auth  # type: ignore[import-untyped]

from tests import npm
from tests.api.signing import signed
from tests.patience import PATIENCE_S
from tests.small_deployments import Answer, Gateway

NODE = Path(__file__).parent / "node"


class Keys(msgspec.Struct, frozen=True):
    """Credentials, and the region that is signed for."""

    access_key_id: str
    secret: str
    region: str
    token: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request that is to be signed."""

    method: str
    path: str  # encoded, with its query
    body: bytes = b""
    headers: Mapping[str, str] = {}


def by_botocore(keys: Keys, asked: Asked, gateway: Gateway) -> Answer:
    return send(asked, headers_of_botocore(keys, asked, gateway), gateway)


def by_requests(keys: Keys, asked: Asked, gateway: Gateway) -> Answer:
    auth = AWS4Auth(keys.access_key_id, keys.secret, keys.region, "execute-api", session_token=keys.token)
    answer = requests.request(
        asked.method, url(asked, gateway), data=asked.body, headers=asked.headers, auth=auth, timeout=PATIENCE_S
    )
    return Answer(answer.status_code, answer.headers, answer.content)


def by_javascript(keys: Keys, asked: Asked, gateway: Gateway) -> Answer:
    wanted = {
        "method": asked.method,
        "url": url(asked, gateway),
        "headers": dict(asked.headers),
        "body": asked.body.decode(),
        "region": keys.region,
        "accessKeyId": keys.access_key_id,
        "secretAccessKey": keys.secret,
        "sessionToken": keys.token,
    }
    done = subprocess.run(
        ["node", str(NODE / "sign.mjs")],
        input=json.dumps([wanted]),
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "MODULES": str(npm.installed(NODE))},
        check=True,
        text=True,
        timeout=PATIENCE_S,
    )
    (headers,) = json.loads(done.stdout)
    return send(asked, headers, gateway)


SIGNERS = {"botocore": by_botocore, "requests-aws4auth": by_requests, "the SDK for JavaScript": by_javascript}


def headers_of_botocore(keys: Keys, asked: Asked, gateway: Gateway) -> dict[str, str]:
    credentials: dict[str, Any] = {"key_id": keys.access_key_id, "secret": keys.secret, "token": keys.token}
    return signed(asked.method, url(asked, gateway), asked.body, dict(asked.headers), region=keys.region, **credentials)


def send(asked: Asked, headers: Mapping[str, str], gateway: Gateway) -> Answer:
    return gateway.call(asked.method, asked.path, body=asked.body or None, headers=headers)


def url(asked: Asked, gateway: Gateway) -> str:
    return f"http://{gateway.host}:{gateway.port}{asked.path}"
