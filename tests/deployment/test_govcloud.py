"""docs/govcloud.md, walked on the local system: GovCloud signatures, and the local Bedrock in the other partition."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib.http.asks import CLASSIFICATIONS
from chalicelib.http.route_table import ROUTES
from emulators.iam.policy import Call, Caller, Identity, identity_policy
from infra.rotation import rotate
from local.bootstrap import BEDROCK_SECRET
from tests.deployment.packages import ROOT
from tests.e2e.admin import admin
from tests.emulators.iam.people import People
from tests.emulators.iam.signers import Asked, Keys, by_botocore
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S
from tests.small_deployments import Gateway

PAGE = (ROOT / "docs" / "govcloud.md").read_text()
STAGE = "gov-dev"
SIGNED, OPERATOR, CALLER, AUDITOR = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(POLICY,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
THERE = "111122223333:abcde12345/api/"


class Runbook:
    """Runs the page's programs against the system, signed by whoever is named."""

    def __init__(self, system: RunningSystem, folder: Path) -> None:
        self._system = system
        self._folder = folder
        (folder / "signed.py").write_text(SIGNED)

    def run(self, program: str, keys: Keys, **variables: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self._folder),
            "CLOISTER_BASE_URL": self._system.base_url,
            "AWS_DEFAULT_REGION": keys.region,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def runbook(running_system: RunningSystem, tmp_path: Path) -> Iterator[Runbook]:
    yield Runbook(running_system, tmp_path)
    admin(running_system, "DELETE", "/pools/bedrock-us")  # /health counts what there is


def test_from_an_operators_first_request_to_a_callers_audit_log(
    running_system: RunningSystem, runbook: Runbook
) -> None:
    env = running_system.env
    _keep_credential(env, f"cloister-{STAGE}-bedrock")
    (statement,) = json.loads(POLICY.replace(THERE, "123456789012:local/api/"))["Statement"]
    name, caller = People(env["AWS_ENDPOINT_URL"]).user(statement)
    principal = f"arn:aws-us-gov:iam::123456789012:user/{name}"
    operator = Keys(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_REGION"])

    assert runbook.run(OPERATOR, operator, STAGE=STAGE, PRINCIPAL=principal) == ""
    said = runbook.run(CALLER, caller)
    log = runbook.run(AUDITOR, caller)

    assert "anthropic.claude-sonnet-4-20250514-v1:0  us.anthropic.claude-sonnet-4-20250514-v1:0" in said
    assert '"type":"content_block_delta"' in said and said.rstrip().endswith("event: done\ndata: {}")
    streamed, asked, _ = log.splitlines()
    for entry in (streamed, asked):
        model = "anthropic.claude-sonnet-4-20250514-v1:0"
        assert entry.split(" ", 1)[1] == f"{principal} govcloud commercial {model} 200 internal"


def test_the_callers_policy_allows_the_callers_routes_and_no_other() -> None:
    identity = Identity((identity_policy(POLICY),))
    api = f"arn:aws-us-gov:execute-api:us-gov-west-1:{THERE}"
    who = Caller("arn:aws-us-gov:iam::111122223333:user/x", "111122223333", "AKIAEXAMPLEEXAMPLE00")

    def may(method: str, path: str) -> bool:
        called = Call(who, "execute-api:Invoke", f"{api}{method}{path}", {}, {})
        return identity.refusal(called) is None

    assert {route.path for route in ROUTES if may(route.method, route.path)} == {
        "/v1/bedrock/models",
        "/v1/bedrock/invoke-model",
        *(route.path for route in ROUTES if route.path.startswith("/v1/bedrock/model/")),
        "/v1/dashboard/requests",
    }


def test_what_awscurl_sends_is_answered_when_it_is_signed(running_system: RunningSystem) -> None:
    (command,) = [command for command in COMMANDS if command.startswith("awscurl")]
    words = shlex.split(command.replace("\\\n", " "))
    after = {word: words[words.index(word) + 1] for word in ("--service", "--region", "-X", "-d")}
    headers = dict(word.split(": ") for word in words if re.match(r"[\w-]+: ", word))
    assert (after["--service"], after["--region"]) == ("execute-api", "us-gov-west-1")
    env = running_system.env
    asked = Asked(after["-X"], words[-3].removeprefix("$CLOISTER_BASE_URL"), after["-d"].encode(), headers)
    caller = Keys(env["CLOISTER_GOVCLOUD_ACCESS_KEY_ID"], env["CLOISTER_GOVCLOUD_SECRET_ACCESS_KEY"], after["--region"])
    where = urlsplit(running_system.base_url)
    answer = by_botocore(caller, asked, Gateway(where.hostname or "", where.port or 0))
    assert (answer.status, answer.json["output"]["message"]["role"]) == (200, "assistant")


def test_the_first_key_that_is_piped_over_is_one_that_the_rotation_takes() -> None:
    key = {"AccessKey": {"UserName": "x", "AccessKeyId": "AKIAFIRST", "SecretAccessKey": "a/b+c"}}
    role = "arn:aws:iam::123456789012:role/invoker"
    piped = _piped("create-access-key", key, role)
    assert json.loads(piped) == {
        "access_key_id": "AKIAFIRST",
        "secret_access_key": "a/b+c",
        "role_arn": role,
        "region": "us-east-1",
    }
    assert rotate.read(piped)


def test_an_api_key_that_is_piped_over_is_one_that_the_rotation_refuses() -> None:
    made = {"ServiceSpecificCredential": {"ServiceCredentialSecret": "ABSKnew", "ServiceName": "bedrock.amazonaws.com"}}
    piped = _piped("create-service-specific-credential", made)
    assert json.loads(piped) == {"bedrock_api_key": "ABSKnew", "region": "us-east-1"}
    with pytest.raises(rotate.CannotRotate):
        rotate.read(piped)


def test_the_api_keys_secret_is_where_iam_puts_it() -> None:
    iam = botocore.session.get_session().get_service_model("iam")
    made = iam.operation_model("CreateServiceSpecificCredential").output_shape.members["ServiceSpecificCredential"]
    assert "ServiceCredentialSecret" in made.members


def test_classifications_and_files_that_are_named_are_there() -> None:
    listed = re.search(r"`X-Data-Classification` is one of (.*?);", PAGE)
    assert listed and tuple(re.findall("`(.*?)`", listed[1])) == CLASSIFICATIONS
    for name in re.findall(r"(?:--template-file |`)((?:infra|\.chalice)/[\w./-]+)", PAGE):
        assert (ROOT / name).exists(), name
    for stage in re.findall(r"`(gov-\w+)`", PAGE):
        assert stage in json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]


def _keep_credential(env: dict[str, str], name: str) -> None:
    """As step 3 leaves it; the local Bedrock lets an API key in."""
    secrets: Any = botocore.session.get_session().create_client(
        "secretsmanager",
        region_name=env["AWS_REGION"],
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    text = secrets.get_secret_value(SecretId=BEDROCK_SECRET)["SecretString"]
    secrets.create_secret(Name=name, SecretString=text)


def _piped(command: str, answer: dict[str, Any], *arguments: str) -> str:
    """What the page's program makes of the answer of IAM."""
    (block,) = [block for block in COMMANDS if f"iam {command}" in block]
    (program,) = re.findall(r"python3 -c '\n(.*?)'", block, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=json.dumps(answer),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
