"""Many requests in one process never see each other: Chalice keeps the current one on the app object."""

import threading
from concurrent.futures import ThreadPoolExecutor

from chalicelib.http.bridge import Bridge
from chalicelib.http.doors import Doors, Reply
from tests.patience import PATIENCE_S
from tests.small_deployments import Deployment, Gateway, served

TOGETHER = 16


def meeting() -> tuple[Doors, threading.Barrier]:
    """An app whose one view answers when so many requests are inside it at once."""
    app, together = Doors("meeting", configure_logs=False), threading.Barrier(TOGETHER)

    @app.route("/who/{name}", methods=["POST"], content_types=[])
    def who(name: str) -> Reply:
        together.wait(PATIENCE_S)
        request = app.current_request
        assert request is not None
        together.wait(PATIENCE_S)
        assert request.uri_params is not None
        seen = (name, request.uri_params["name"], request.headers["x-name"])
        body = request.raw_body
        assert isinstance(body, bytes)
        return Reply(" ".join(seen).encode() + b" " + body, {})

    return app, together


def test_every_request_sees_itself_while_others_are_in_the_same_view() -> None:
    app, _ = meeting()
    with served(Bridge(app, 1_000, {})) as gateway, ThreadPoolExecutor(TOGETHER) as clients:

        def ask(name: str) -> str:
            return gateway.call("POST", f"/who/{name}", body=name.encode(), headers={"X-Name": name}).body.decode()

        names = [f"n{number}" for number in range(TOGETHER)]
        for _ in range(3):  # threads are used again: nothing may stay behind in one
            assert list(clients.map(ask, names)) == [" ".join([name] * 4) for name in names]


def test_tenants_at_once_get_their_own_answers_and_their_own_entries(gateway: Gateway, deployment: Deployment) -> None:
    tenants = [f"t{number}" for number in range(TOGETHER)]
    for tenant in tenants:
        deployment.tenant(tenant)
    keys = {tenant: deployment.key(tenant) for tenant in tenants}

    def ask(tenant: str) -> tuple[str, str]:
        headers = {"X-Request-ID": f"of-{tenant}", "X-Tenant-ID": tenant, "X-Model-Pool": "model-a"}
        answer = gateway.call("POST", "/inference", key=keys[tenant], json={"prompt": "hi"}, headers=headers)
        return answer.json["request_id"], answer.headers["x-request-id"]

    with ThreadPoolExecutor(TOGETHER) as clients:
        assert list(clients.map(ask, tenants)) == [(f"of-{tenant}",) * 2 for tenant in tenants]
    for tenant in tenants:
        page = gateway.call("GET", f"/tenants/{tenant}/requests", key=keys[tenant]).json
        assert [(entry["tenant"], entry["request_id"]) for entry in page["entries"]] == [(tenant, f"of-{tenant}")]
