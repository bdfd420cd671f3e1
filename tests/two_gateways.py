"""Gateway processes over one local cloud, and a container that generates no token before a test lets it.

The processes are those of the local system, so the admin surface takes the access key that the local cloud made for
its operator. The container runs in this process; SageMaker's runtime and the gateways reach it over HTTP like any.

`pytest_plugins` of the root conftest gives every test the fixture `two_gateways`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from chalicelib.dynamodb import open_tables
from chalicelib.tables import models_of
from emulators.sagemaker_runtime import endpoints
from emulators.sagemaker_runtime.endpoints import SingleModel
from tests.api.signing import signed
from tests.engines.servers import Request, Wire, serving, whole
from tests.images.houses import Gated
from tests.patience import PATIENCE_S
from tests.small_deployments import Answer, Gateway
from tests.stores import REGION, ROOT, with_credentials

ENDPOINT = "gated"
NOWHERE = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def model(request: Request, wire: Wire) -> None:
    """A model that answers with the first segment of the path that it is reached by."""
    name = request.path.split("/")[1]
    choice = {"index": 0, "message": {"role": "assistant", "content": name}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = {"id": "1", "object": "chat.completion", "created": 0, "model": name, "choices": [choice], "usage": usage}
    wire.send(whole(msgspec.json.encode(answer)))


@contextmanager
def process(
    module: str, environment: Mapping[str, str], log: Path, arguments: tuple[str, ...] = ()
) -> Iterator[dict[str, str]]:
    """One of the local system's processes; what it tells when it is ready."""
    told, tell = os.pipe()
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--ready-fd", str(tell)],
            cwd=ROOT,
            env={**os.environ, **NOWHERE, **environment},
            pass_fds=[tell],
            stdout=output,
            stderr=output,
        )
    os.close(tell)
    try:
        with os.fdopen(told) as ready:
            line = ready.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


class TwoGateways(NamedTuple):
    """The gateways, the operator's key pair, where they log, and the container."""

    left: Gateway
    right: Gateway
    impatient: Gateway  # waits 4 s for an engine: longer than a busy machine needs for what comes at once
    access_key_id: str
    secret: str
    model_url: str
    log: Path
    container: Gated

    def admin(self, gateway: Gateway, method: str, path: str, body: object = None, **how: Any) -> Answer:
        """A request that the operator signs."""
        content = b"" if body is None else msgspec.json.encode(body)
        credentials = {"key_id": self.access_key_id, "secret": self.secret, **how}
        url = f"{gateway.base_url}/admin{path}"
        headers = signed(method, url, content, {"Content-Type": "application/json"}, **credentials)
        return gateway.call(method, f"/admin{path}", body=content or None, headers=headers)

    @property
    def base_url(self) -> str:
        return self.left.base_url

    def offer(self, name: str, target: dict[str, Any], in_flight: int = 4) -> str:
        """A new tenant with one pool, of the same name, on this target; an owner's key."""
        limits = {"rates": [], "budgets": [], "in_flight": in_flight}
        for method, path, body in (
            ("PUT", f"/pools/{name}", {"name": name, "targets": [target]}),
            ("POST", "/tenants", {"id": name, "name": name, "pools": [name], "limits": limits}),
            ("POST", f"/tenants/{name}/keys", {"role": "owner"}),
        ):
            made = self.admin(self.left, method, path, body)
            assert made.status < 300, made.body
        key: str = made.json["api_key"]
        return key

    def target(self, name: str) -> dict[str, Any]:
        url = f"{self.model_url}/{name}/v1"
        return {"name": name, "engine": "openai_compatible", "url": url, "weight": int(name == "a")}

    def gated(self, way: str) -> dict[str, Any]:
        """The container as a target, by SageMaker's runtime or directly."""
        sagemaker = {"name": "gated", "engine": "sagemaker", "endpoint": ENDPOINT}
        return sagemaker if way == "sagemaker" else self.container.target


@pytest.fixture(scope="session")
def two_gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoGateways]:
    with_credentials()
    folder = tmp_path_factory.mktemp("two_gateways")
    log = folder / "log"
    with ExitStack() as stack:
        server = stack.enter_context(serving(model))
        container = stack.enter_context(Gated(folder))
        known = folder / "endpoints.json"
        endpoints.write({ENDPOINT: SingleModel(f"http://127.0.0.1:{container.port}")}, known)
        cloud = stack.enter_context(process("local.cloud", {}, log, ("--endpoints", str(known))))
        tables = models_of(open_tables(REGION, "cloister", 10_000, cloud["url"]))
        for table in (tables.tenancy, tables.meters, tables.ledger):
            table.create_table(wait=True)
        environment = {
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": cloud["url"],
            "AWS_ACCESS_KEY_ID": cloud["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": cloud["secret_access_key"],
            "CLOISTER_STORE_DEADLINE_MS": "10000",
        }

        def gateway(**more: str) -> Gateway:
            told = stack.enter_context(process("local.gateway", environment | more, log))
            where = urlsplit(told["url"])
            return Gateway(where.hostname or "", where.port or 0)

        gateways = (gateway(), gateway(), gateway(CLOISTER_IDLE_DEADLINE_MS="4000"))
        operator = (cloud["access_key_id"], cloud["secret_access_key"])
        yield TwoGateways(*gateways, *operator, server.root, log, container)
