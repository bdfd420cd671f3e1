"""docs/deployment.md says what is so."""

import base64
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cfnlint.decode
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import app  # noqa: F401  # fills ROUTES
from chalicelib.http.route_table import ROUTES
from chalicelib.pool import Bedrock, Pool
from chalicelib.tickets import Claims, Tickets
from sealed import ticket
from tests.deployment.packages import ROOT, Package

PAGE = (ROOT / "docs" / "deployment.md").read_text()


def test_stacks_parameters_and_outputs_are_those_of_the_templates(dev: Package) -> None:
    assert set(dev.template["Parameters"]) == {"WebAdapterLayerArn", "TlsPolicy"}
    assert "--parameter-overrides WebAdapterLayerArn=" in PAGE
    for output in ("EndpointURL", "OperatorPolicyArn", "NotaryRoleArn"):
        assert output in dev.template["Outputs"] and output in PAGE


def test_the_functions_are_those_of_the_template(dev: Package) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", PAGE, re.MULTILINE))

    assert {name: _seconds(ends) for name, ends in rows.items()} == {
        name: resource["Properties"]["Timeout"]
        for name, resource in dev.resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def test_files_that_are_named_are_there() -> None:
    for name in re.findall(r"`((?:infra|chalicelib|\.chalice)/[\w./-]+)`", PAGE):
        assert (ROOT / name).exists(), name


def test_the_signed_first_requests_are_signed_and_are_routes_of_ours() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    accepted = {(route.method, route.path): route.accepts for route in ROUTES}
    with _stub() as (asked, url):
        environment = {
            "CLOISTER_BASE_URL": f"{url}/api",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
            "AWS_SECRET_ACCESS_KEY": "example",
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "ck_shown_once\n"
    assert [(method, path) for method, path, _, _ in asked] == [
        ("PUT", "/api/admin/pools/chat"),
        ("POST", "/api/admin/tenants"),
        ("POST", "/api/admin/tenants/acme/keys"),
    ]
    for method, path, authorization, body in asked:
        template = path.removeprefix("/api").replace("/acme", "/{tenant}").replace("/chat", "/{pool}")
        msgspec.json.decode(body, type=accepted[method, template])
        assert re.match(r"AWS4-HMAC-SHA256 Credential=\w+/\d{8}/eu-west-1/execute-api/aws4_request, ", authorization)


def test_the_ticket_key_that_is_made_signs_what_its_public_half_verifies() -> None:
    (program,) = re.findall(r"^python3 - > ticket\.json <<'END'\n(.*?)^END$", PAGE, re.DOTALL | re.MULTILINE)
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, check=True)
    private = base64.b64decode(json.loads(done.stdout)["ticket_key"])
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(done.stderr.removeprefix("ticket_keys: ")))

    issued = Tickets(lambda: private, lambda: 0).issue(Claims("attest"), b"")
    assert ticket.verify(issued, b"", {ticket.kid_of(public): public}, 0).use == "attest"


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("deployment", "infra/sealing.yaml"),
        ("deployment", "infra/audit.yaml"),
        ("deployment", "infra/contents.yaml"),
        ("observability", "infra/observability.yaml"),
        ("user-pool", "infra/identity.yaml"),
        ("govcloud", "infra/commercial.yaml"),
        ("govcloud", "infra/bedrock.yaml"),
    ],
)
def test_a_stack_is_deployed_with_the_parameters_that_it_asks_for(name: str, stack: str) -> None:
    template, _ = cfnlint.decode.decode(str(ROOT / stack))
    page = (ROOT / "docs" / f"{name}.md").read_text()
    command = next(block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if stack in block)
    asked = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    assert set(re.findall(r"\b([A-Z]\w+)=", command)) == asked
    for output in template["Outputs"]:
        assert f"`{output}`" in page


def test_the_pool_of_bedrock_that_is_shown_is_one() -> None:
    (body,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (target,) = msgspec.json.decode(body, type=Pool).targets
    assert isinstance(target, Bedrock)
    assert target.secret == ""


@contextmanager
def _stub() -> Iterator[tuple[list[tuple[str, str, str, bytes]], str]]:
    """Answers every request with a key; what it was asked: method, path, Authorization, body."""
    asked: list[tuple[str, str, str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.command, self.path, self.headers["Authorization"], body))
            self.send_response_only(200)
            self.end_headers()
            self.wfile.write(b'{"api_key": "ck_shown_once"}')

        do_PUT = do_POST

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield asked, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _seconds(words: str) -> int:
    number, unit = words.split()
    return int(number) * {"s": 1, "minutes": 60}[unit]
