"""Who operates a gateway, and the operator's routes: with an owner's key of the platform's own tenant, or signed.

API Gateway lets in below /admin whom IAM allows, and nobody else: on AWS requests are signed. A gateway that stands by
itself, as on one machine or in a container, takes the key as well.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from cloister.cli.gateway import TIMEOUT_S, ask
from cloister.cli.settings import base_url
from cloister.refusal import NotConfigured

_OF_API_GATEWAY = re.compile(r"https://[^/.]+\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?(?:/|$)")


class OperatorSettings(msgspec.Struct, frozen=True):
    """Where the gateway is, and the key, if there is one."""

    base_url: str
    admin_key: str | None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every command of an operator's has."""
    group = parser.add_argument_group("settings")
    group.add_argument("--base-url", metavar="…", help="the gateway, as https://HOST; CLOISTER_BASE_URL")
    group.add_argument("--stage", help="instead: ask CloudFormation where the stack cloister-STAGE is; CLOISTER_STAGE")
    group.add_argument(
        "--admin-key", metavar="…",
        help="an owner's key of the platform's own tenant [sign as boto3 finds credentials]; CLOISTER_ADMIN_KEY",
    )  # fmt: skip
    group.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(read=read)


def read(flags: argparse.Namespace, environment: Mapping[str, str]) -> OperatorSettings:
    """The flags, and the environment where there is none. Raises: NotConfigured."""
    given = flags.base_url or (None if flags.stage else environment.get("CLOISTER_BASE_URL"))
    stage = flags.stage or environment.get("CLOISTER_STAGE")
    if not given and not stage:
        raise NotConfigured("Say which gateway: --base-url or CLOISTER_BASE_URL, or --stage of a deployed one.")
    found = base_url(given) if given else _of_stage(str(stage))
    return OperatorSettings(found, flags.admin_key or environment.get("CLOISTER_ADMIN_KEY"))


class Operator:
    """The operator's routes. Every method raises GatewayRefused."""

    def __init__(self, settings: OperatorSettings) -> None:
        """Raises: NotConfigured."""
        key = settings.admin_key
        self._http = httpx.Client(
            base_url=settings.base_url,
            auth=None if key else Signature.of(settings.base_url),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=TIMEOUT_S,
        )

    def get(self, *names: str, **query: Any) -> Any:
        """What is at /admin/… by these names."""
        return ask(self._http, "GET", _path(*names), params=query).json()

    def send(self, method: str, *names: str, body: object = None) -> Any:
        """What came back; None where that is nothing."""
        answer = ask(self._http, method, _path(*names), json=body)
        return answer.json() if answer.content else None

    def health(self) -> Any:
        """Of the gateway, also where it is unhealthy."""
        return ask(self._http, "GET", "/health", also=(503,)).json()


class Signature(httpx.Auth):
    """By AWS Signature 4, for API Gateway."""

    requires_request_body = True

    def __init__(self, credentials: Any, region: str) -> None:
        self._credentials = credentials
        self._region = region

    @classmethod
    def of(cls, base_url: str) -> "Signature":
        """With the credentials that boto3 finds. Raises: NotConfigured."""
        import botocore.session  # not for those who have a key

        session = botocore.session.get_session()
        named = _OF_API_GATEWAY.match(base_url)
        region = named["region"] if named else session.get_config_variable("region")
        credentials = session.get_credentials()
        if credentials is None:
            raise NotConfigured(
                "Give --admin-key or CLOISTER_ADMIN_KEY; or, to sign, credentials where boto3 finds them (AWS_PROFILE)."
            )
        if not region:
            raise NotConfigured("Set AWS_REGION: a signature is for one region, and this address does not tell which.")
        return cls(credentials, region)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        kept = {name: request.headers[name] for name in ("host", "content-type") if name in request.headers}
        to_sign = AWSRequest(request.method, str(request.url), kept, request.content)
        SigV4Auth(self._credentials, "execute-api", self._region).add_auth(to_sign)
        request.headers.update(dict(to_sign.headers.items()))
        yield request


def _path(*names: str) -> str:
    return "/".join(("/admin", *(quote(name, safe="/") for name in names)))


def _of_stage(stage: str) -> str:
    """Raises: NotConfigured."""
    import boto3  # not for those who know the address
    from botocore.exceptions import BotoCoreError, ClientError

    stack = f"cloister-{stage}"
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise NotConfigured(f"CloudFormation does not show the stack {stack}: {error}") from error
    urls = [each["OutputValue"] for each in found[0].get("Outputs", ()) if each["OutputKey"] == "EndpointURL"]
    if not urls:
        raise NotConfigured(f"The stack {stack} has no output EndpointURL: it is not a gateway's, or not yet deployed.")
    return base_url(urls[0])


def document(path: str) -> Any:
    """The JSON in a file, or on the standard input for `-`. Raises: NotConfigured."""
    try:
        return json.loads(sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise NotConfigured(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise NotConfigured(f"{path} is no JSON: {error}.") from error


def table(rows: Iterable[Sequence[object]], *head: str) -> str:
    """Columns of text, as wide as their widest cell."""
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    return os.linesep.join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
