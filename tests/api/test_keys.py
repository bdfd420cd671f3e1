"""What a tenant's owner does with keys and members, over HTTP."""

import json

import pytest

from chalicelib import wiring
from chalicelib.api.management import MOST_GRACE_S
from chalicelib.tenancy import PLATFORM_TENANT, Change, Tenancy
from chalicelib.tenancy.key_text import parse
from chalicelib.tenancy.tenant import Scopes
from tests.small_deployments import Answer, Deployment, Gateway
from tests.tenancy.interleaving import Interrupted


class Owner:
    """Somebody with an owner's key of `acme`."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.key = deployment.key("acme", "owner")

    def __call__(self, method: str, path: str, body: object = None, key: str | None = None) -> Answer:
        return self.gateway.call(method, f"/tenants/acme{path}", key=key or self.key, json=body)

    def models(self, key: str) -> int:
        """The status that a key gets where every role may go."""
        return self("GET", "/v1/models", key=key).status


@pytest.fixture
def owner(gateway: Gateway, deployment: Deployment) -> Owner:
    return Owner(gateway, deployment)


def test_a_key_is_shown_once_and_never_again(owner: Owner) -> None:
    made = owner("POST", "/keys", {"role": "developer", "label": "ci", "scopes": {"pools": ["model-a"]}})
    assert made.status == 201
    text, key = made.json["api_key"], made.json["key"]
    token = parse(text)
    assert token is not None
    assert key == {
        "id": token.key_id,
        "role": "developer",
        "label": "ci",
        "scopes": {"pools": ["model-a"], "surfaces": [], "tools": [], "routes": []},
        "created_ms": owner.deployment.clock(),
        "state": "active",
    }
    listed = owner("GET", "/keys")
    assert key in listed.json["keys"]
    digest = owner.deployment.tenancy.key("acme", token.key_id).digest
    for secret in (token.secret, digest, "digest"):
        assert secret not in listed.body.decode()
        assert secret not in json.dumps(key)
    assert owner.models(text) == 200


def test_a_key_that_is_revoked_is_refused_at_once_and_stays_on_the_list(owner: Owner) -> None:
    made = owner("POST", "/keys", {"role": "viewer"}).json
    assert owner.models(made["api_key"]) == 200
    revoked = owner("DELETE", f"/keys/{made['key']['id']}")
    assert (revoked.status, revoked.json["state"]) == (200, "revoked")
    assert owner.models(made["api_key"]) == 401
    assert owner("DELETE", f"/keys/{made['key']['id']}").json == revoked.json
    assert revoked.json in owner("GET", "/keys").json["keys"]


def test_an_owner_may_revoke_the_very_key_they_use(owner: Owner) -> None:
    token = parse(owner.key)
    assert token is not None
    assert owner("DELETE", f"/keys/{token.key_id}").status == 200
    assert owner("GET", "/keys").status == 401


def test_old_and_new_are_valid_side_by_side_until_the_grace_ends(owner: Owner) -> None:
    made = owner("POST", "/keys", {"role": "viewer"}).json
    rotated = owner("POST", f"/keys/{made['key']['id']}/rotate", {"grace_s": 60})
    assert rotated.status == 201
    old, new = made["api_key"], rotated.json["api_key"]
    owner.deployment.clock.now_ms += 59_999
    assert (owner.models(old), owner.models(new)) == (200, 200)
    owner.deployment.clock.now_ms += 1
    assert (owner.models(old), owner.models(new)) == (401, 200)
    listed = {key["id"]: key for key in owner("GET", "/keys").json["keys"]}
    assert listed[made["key"]["id"]]["state"] == "expired"
    assert listed[made["key"]["id"]]["replaced_by"] == rotated.json["key"]["id"]


def test_a_key_is_not_rotated_twice(owner: Owner) -> None:
    made = owner("POST", "/keys", {"role": "viewer"}).json
    assert owner("POST", f"/keys/{made['key']['id']}/rotate").status == 201
    assert owner("POST", f"/keys/{made['key']['id']}/rotate").status == 409
    assert len(owner("GET", "/keys").json["keys"]) == 3


def test_a_key_expires_to_the_millisecond(owner: Owner) -> None:
    text = owner("POST", "/keys", {"role": "viewer", "expires_in_s": 1}).json["api_key"]
    owner.deployment.clock.now_ms += 999
    assert owner.models(text) == 200
    owner.deployment.clock.now_ms += 1
    assert owner.models(text) == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": "root"},
        {"role": "owner", "expires_in_s": 0},
        {"role": "owner", "expires_in_s": "soon"},
        {"role": "owner", "label": "x" * 101},
        {"role": "owner", "scopes": {"pools": ["bad name"]}},
        {"role": "owner", "scopes": {"pools": ["model-a\n"]}},
        {"role": "owner", "scopes": {"surfaces": ["admin"]}},
        {"role": "owner", "tenant": "bolt"},
        {"role": "owner", "digest": "0"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(owner: Owner, body: object) -> None:
    answer = owner("POST", "/keys", body)
    assert (answer.status, answer.json["type"]) == (400, "/problems/invalid-request")
    assert len(owner.deployment.tenancy.keys("acme")) == 1


@pytest.mark.parametrize("grace_s", [-1, MOST_GRACE_S + 1, 1.5, "1"])
def test_a_grace_period_that_makes_no_sense_rotates_nothing(owner: Owner, grace_s: object) -> None:
    made = owner("POST", "/keys", {"role": "viewer"}).json
    assert owner("POST", f"/keys/{made['key']['id']}/rotate", {"grace_s": grace_s}).status == 400
    assert len(owner.deployment.tenancy.keys("acme")) == 2


def test_another_tenants_key_cannot_even_be_named(owner: Owner) -> None:
    foreign = parse(owner.deployment.key("bolt"))
    assert foreign is not None
    answers = [owner("DELETE", f"/keys/{key}") for key in (foreign.key_id, "bolt.aaaaaaaa")]
    assert {answer.status for answer in answers} == {404}
    assert owner("POST", f"/keys/{foreign.key_id}/rotate", {}).status == 404
    assert owner.deployment.tenancy.key("bolt", foreign.key_id).revoked_ms is None


@pytest.mark.parametrize("name", ["x" * 3_000, "%00", "..", "%2e%2e%2ftenant", "a%2Fb", "%ff", "%E2%82%AC" * 200])
def test_a_name_that_no_key_has_is_not_found_whatever_it_is(owner: Owner, name: str) -> None:
    for answer in (
        owner("DELETE", f"/keys/{name}"),
        owner("POST", f"/keys/{name}/rotate", {}),
        owner("DELETE", f"/members/{name}"),
    ):
        assert answer.status == 404, answer.body


def test_a_key_that_expires_makes_only_keys_that_end_with_it(owner: Owner) -> None:
    brief = owner.deployment.key("acme", "owner", expires_ms=owner.deployment.clock() + 60_000)
    assert owner("POST", "/keys", {"role": "viewer"}, key=brief).status == 403
    assert owner("POST", "/keys", {"role": "viewer", "expires_in_s": 61}, key=brief).status == 403
    made = owner("POST", "/keys", {"role": "viewer", "expires_in_s": 60}, key=brief)
    assert made.status == 201
    token = parse(owner.key)
    assert token is not None
    assert owner("POST", f"/keys/{token.key_id}/rotate", {}, key=brief).status == 403, "the new one would not end"
    assert owner("POST", f"/keys/{made.json['key']['id']}/rotate", {}, key=brief).status == 201


def test_a_narrowed_key_makes_only_keys_that_are_as_narrow(owner: Owner) -> None:
    narrow = owner.deployment.key("acme", "owner", pools=("model-a",))
    wide = {"role": "owner"}
    assert owner("POST", "/keys", wide, key=narrow).status == 403
    assert owner("POST", "/keys", {**wide, "scopes": {"pools": ["model-a", "model-b"]}}, key=narrow).status == 403
    made = owner("POST", "/keys", {**wide, "scopes": {"pools": ["model-a"]}}, key=narrow)
    assert made.status == 201
    token = parse(owner.key)
    assert token is not None
    assert owner("POST", f"/keys/{token.key_id}/rotate", {}, key=narrow).status == 403, "it would hand out a wider one"
    assert owner("POST", f"/keys/{made.json['key']['id']}/rotate", {}, key=narrow).status == 201
    assert owner.deployment.tenancy.key("acme", token.key_id).scopes == Scopes()


def test_a_pool_outside_a_keys_scope_is_as_good_as_not_there(owner: Owner) -> None:
    owner.deployment.pool("model-b")
    owner.deployment.tenancy.change_tenant("acme", Change(pools=("model-a", "model-b")))
    key = owner.deployment.key("acme", pools=("model-b",))
    assert [model["id"] for model in owner("GET", "/v1/models", key=key).json["data"]] == ["model-b"]
    chats = [
        owner("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]}, key=key)
        for model in ("model-a", "model-z")
    ]
    models = [owner("GET", f"/v1/models/{model}", key=key) for model in ("model-a", "model-z")]
    for there, not_there in (chats, models):
        assert there.status == not_there.status == 404
        assert there.json["error"]["message"] == not_there.json["error"]["message"].replace("model-z", "model-a")


# members


def test_members_come_change_and_go(owner: Owner) -> None:
    assert owner("PUT", "/members/ada@example.com", {"role": "owner"}).json["role"] == "owner"
    assert owner("PUT", "/members/bob", {"role": "viewer"}).status == 200
    assert owner("PUT", "/members/bob", {"role": "developer"}).json["role"] == "developer"
    members = owner("GET", "/members").json["members"]
    assert [(member["subject"], member["role"]) for member in members] == [
        ("ada@example.com", "owner"),
        ("bob", "developer"),
    ]
    assert owner("DELETE", "/members/bob").status == 204
    assert owner("DELETE", "/members/bob").status == 404


def test_the_last_owner_stays(owner: Owner) -> None:
    owner("PUT", "/members/ada", {"role": "owner"})
    for answer in (owner("DELETE", "/members/ada"), owner("PUT", "/members/ada", {"role": "viewer"})):
        assert (answer.status, answer.json["type"]) == (409, "/problems/conflict")
    owner("PUT", "/members/bob", {"role": "owner"})
    assert owner("DELETE", "/members/ada").status == 204


@pytest.mark.parametrize("subject", ["-x", "a%20b", "a%2Fb", "x" * 129, "ada%0A", "%C3%A9"])
def test_a_subject_that_is_no_name_is_refused(owner: Owner, subject: str) -> None:
    assert owner("PUT", f"/members/{subject}", {"role": "viewer"}).status == 400
    assert owner("GET", "/members").json["members"] == []


# the ledger


@pytest.mark.parametrize(
    "query", ["since_ms=-1", "until_ms=x", f"until_ms={10**30}", "since_ms=2&until_ms=1", "limit=0", "cursor=made-up"]
)
def test_a_question_to_the_ledger_that_makes_no_sense_is_refused(owner: Owner, query: str) -> None:
    assert owner("GET", f"/requests?{query}").status == 400


def test_the_ledger_is_read_page_by_page_newest_first(owner: Owner) -> None:
    for number in range(5):
        owner.deployment.clock.now_ms += 1_000
        body = {"model": "model-a", "prompt": "hi", "max_tokens": 8}
        headers = {"X-Request-ID": f"r{number}"}
        assert owner.gateway.call("POST", "/inference", key=owner.key, json=body, headers=headers).status == 200
    seen: list[str] = []
    cursor = ""
    while len(seen) < 6:
        page = owner("GET", f"/requests?limit=2&until_ms={10**15}{cursor}").json
        seen += [entry["request_id"] for entry in page["entries"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert seen == ["r4", "r3", "r2", "r1", "r0"]


# what somebody else does at the same time


def test_a_change_that_was_overtaken_is_a_conflict(gateway: Gateway, deployment: Deployment) -> None:
    documents = Interrupted(
        deployment.store.documents, 1, lambda: deployment.tenancy.change_tenant("acme", Change(name="First"))
    )
    overtaken = Tenancy(documents, deployment.store.meters, deployment.clock, deployment.chance)
    operator = deployment.key(PLATFORM_TENANT)
    with wiring.opening_into(deployment.rooms(tenancy=overtaken)):
        answer = gateway.call("PATCH", "/admin/tenants/acme", key=operator, json={"name": "Second"})
        again = gateway.call("PATCH", "/admin/tenants/acme", key=operator, json={"name": "Second"})
    assert (answer.status, answer.json["type"], again.status) == (409, "/problems/conflict", 200)
