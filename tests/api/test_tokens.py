"""People come in with tokens of their issuer wherever keys do, as the members they are, and for as long as they are."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.inference.answer import REVOKED
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.tenant import Issuer as Configured
from chalicelib.tenancy.tenant import Tenant
from tests.api.test_events import events
from tests.api.test_leaving import CHUNK, Client, Front, play
from tests.api.test_revoked_streams import AT_ONCE_S, BEGUN
from tests.issuer import AUDIENCE, CLIENT, Issuer, issuing
from tests.small_deployments import Answer, Deployment, Gateway

CHATS = "/tenants/{}/v1/chat/completions"
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


def configured(issuer: Issuer, **more: Any) -> Configured:
    return Configured(issuer.url, audiences=(AUDIENCE,), client_ids=(CLIENT,), **more)


def joined(deployment: Deployment, issuer: Issuer, role: str, tenant: str = "acme", subject: str = "ada") -> None:
    deployment.tenancy.people.put(tenant, subject, role)
    deployment.tenancy.people.join(issuer.url, subject, None, of_tenant=None)


class Scene:
    """`acme` and `bolt`, whose members come from the operator's issuer, and ada, a developer of `acme`."""

    def __init__(self, gateway: Gateway, issuer: Issuer) -> None:
        self.issuer = issuer
        self.gateway = gateway
        self.deployment = operated(issuer)
        self.deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
        self.deployment.pool()
        for name in ("acme", "bolt"):
            self.deployment.tenant(name)
        joined(self.deployment, issuer, "developer")

    def chat(self, token: str | None, tenant: str = "acme", **headers: str) -> Answer:
        sent = {"X-Request-ID": "fixed", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.gateway.call("POST", CHATS.format(tenant), key=token, json=CHAT, headers=sent)

    def put_issuers(self, token: str, *issuers: dict[str, Any]) -> Answer:
        return self.gateway.call("PUT", "/tenants/acme/issuers", key=token, json={"issuers": issuers})


def operated(issuer: Issuer, deployment: Deployment | None = None) -> Deployment:
    """Whose operator has configured the issuer, which is on this machine."""
    deployment = deployment or Deployment()
    deployment.issuers = (configured(issuer),)
    deployment.callable_origins = (issuer.url,)
    return deployment


@pytest.fixture
def scene(gateway: Gateway, issuer: Issuer) -> Iterator[Scene]:
    scene = Scene(gateway, issuer)
    with wiring.opening_into(scene.deployment.rooms()):
        yield scene


def test_a_token_is_taken_wherever_a_key_is(scene: Scene) -> None:
    token = scene.issuer.token()
    assert scene.chat(token).status == 200
    for name in ("X_API_Key", "api_key"):
        assert scene.chat(None, **{name: token}).status == 200
    named = {"X-Tenant-ID": "acme", "X-Model-Pool": "model-a"}
    assert scene.gateway.call("POST", "/inference", key=token, json={"prompt": "hi"}, headers=named).status == 200
    assert scene.gateway.call("GET", "/tenants/acme/usage", key=token).status == 200
    assert scene.issuer.fetches == 1


@pytest.mark.parametrize(("role", "status"), [("owner", 200), ("developer", 200), ("analyst", 403), ("viewer", 403)])
def test_what_a_member_may_do_is_not_the_tokens_to_say(scene: Scene, role: str, status: int) -> None:
    joined(scene.deployment, scene.issuer, role, subject="bob")
    assert scene.chat(scene.issuer.token(sub="bob", role="owner", groups=["owner"])).status == status


def test_a_good_token_learns_nothing_of_tenants_it_is_no_member_of(scene: Scene) -> None:
    strangers = [scene.chat(scene.issuer.token(), tenant) for tenant in ("bolt", "nobody", PLATFORM_TENANT)]
    strangers.append(scene.chat(scene.issuer.token(sub="eve")))
    assert {answer.status for answer in strangers} == {404}
    assert len({answer.body for answer in strangers}) == 1


def test_who_is_invited_is_no_member_before_they_have_joined(scene: Scene) -> None:
    scene.deployment.tenancy.people.put("acme", "bob", "developer")
    assert scene.chat(scene.issuer.token(sub="bob")).status == 404


def join(scene: Scene, token: str, tenant: str = "acme") -> Answer:
    return scene.gateway.call("POST", f"/signin/{tenant}/join", json={"token": token})


def test_who_is_invited_joins_with_a_token_by_their_subject_or_their_verified_mail(scene: Scene) -> None:
    people = scene.deployment.tenancy.people
    people.put("acme", "bob", "developer")
    people.put("acme", "kim@acme.example", "developer")
    people.put("bolt", "kim@acme.example", "owner")
    bob = scene.issuer.token(sub="bob")
    kim = scene.issuer.token(sub="u-7", email="kim@acme.example", email_verified=True)
    for token, subject in ((bob, "bob"), (kim, "kim@acme.example"), (kim, "kim@acme.example")):
        answer = join(scene, token)
        assert answer.status == 200
        assert msgspec.json.decode(answer.body) == {"tenant": "acme", "subject": subject, "role": "developer"}
        assert scene.chat(token).status == 200
    assert scene.chat(kim, "bolt").status == 404  # that invitation is still to be accepted
    said = events(scene.gateway, scene.deployment.key())
    assert {(each["action"], each["who"]["proof"]) for each in said} == {("join_tenant", "jwt")}
    assert sorted(each["who"]["subject"] for each in said) == ["member:bob", "member:kim@acme.example"]


def test_nobody_joins_who_is_not_invited_or_not_who_they_say(scene: Scene) -> None:
    scene.deployment.tenancy.people.put("acme", "kim@acme.example", "developer")
    unverified = scene.issuer.token(sub="u-7", email="kim@acme.example", email_verified=False)
    refused = [join(scene, unverified), join(scene, scene.issuer.token(sub="eve")), join(scene, unverified, "nobody")]
    assert {answer.status for answer in refused} == {404}
    assert len({msgspec.json.decode(answer.body)["detail"] for answer in refused}) == 1
    with issuing() as other:
        forged = other.token(iss=scene.issuer.url, sub="u-7", email="kim@acme.example", email_verified=True)
        assert join(scene, forged).status == 401
    assert [join(scene, "x" * letters).status for letters in (8_192, 8_193, 10_240)] == [401, 400, 413]
    assert join(scene, "nonsense").status == join(scene, scene.issuer.token(exp=1)).status == 401


def test_a_wrong_token_is_answered_as_a_wrong_key_is(scene: Scene) -> None:
    with issuing() as other:
        wrong = [scene.issuer.token(exp=1), other.token(), other.token(iss=scene.issuer.url), "eyJ.eyJ.", "eyJ..x"]
    wrong.append(scene.issuer.token({"alg": "RS256", "crit": ["exp"]}))
    answers = [scene.chat(text, tenant) for text in (None, "ck_wrong", *wrong) for tenant in ("acme", "nobody")]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert scene.chat(scene.issuer.token(more="a" * 20_000)).status == 413  # no header may be so long


def test_a_token_that_names_no_tenant_is_unknown(scene: Scene) -> None:
    token = scene.issuer.token()
    for each in (token, scene.issuer.token(iss="https://evil.example")):
        refused = scene.gateway.call("POST", "/inference", key=each, json={"prompt": "hi"})
        assert (refused.status, "send `X-Tenant-ID`" in refused.json["detail"]) == (401, True)
    assert scene.gateway.call("GET", "/admin/tenants", key=token).status == 401


def test_a_removed_member_is_refused_at_once(scene: Scene) -> None:
    token = scene.issuer.token()
    assert scene.chat(token).status == 200
    scene.deployment.tenancy.people.remove("acme", "ada")
    assert scene.chat(token).status == 404


def test_a_suspended_tenant_is_told_to_its_members(scene: Scene) -> None:
    scene.deployment.tenancy.change_tenant("acme", Change(status="suspended"))
    answer = scene.chat(scene.issuer.token())
    assert (answer.status, b"suspended" in answer.body) == (403, True)


def test_a_token_from_before_its_tenant_was_taken_down_opens_it_no_more(scene: Scene) -> None:
    before = scene.issuer.token()
    scene.deployment.tenancy.take_down("acme")
    assert scene.chat(before).status == 403
    scene.deployment.tenancy.change_tenant("acme", Change(status="active"))
    scene.deployment.clock.now_ms += 1_000
    after = scene.issuer.token(iat=scene.deployment.clock.now_ms // 1_000)
    assert (scene.chat(before).status, scene.chat(after).status) == (401, 200)


def test_an_owner_is_not_narrowed_by_the_hour_of_their_token(scene: Scene) -> None:
    joined(scene.deployment, scene.issuer, "owner", subject="eve")
    token = scene.issuer.token(sub="eve")
    members, keys = "/tenants/acme/members/kim@example.com", "/tenants/acme/keys"
    assert scene.gateway.call("PUT", members, key=token, json={"role": "viewer"}).status == 200
    made = scene.gateway.call("POST", keys, key=token, json={"role": "owner"})
    assert (made.status, "expires_ms" in made.json["key"], made.json["key"]["member"]) == (201, False, "eve")


def test_an_issuer_that_cannot_be_asked_is_no_fault_of_the_token(scene: Scene) -> None:
    scene.issuer.failing = 500
    answer = scene.chat(scene.issuer.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert scene.gateway.call("GET", "/tenants/acme/usage", key=scene.issuer.token()).status == 503


def test_keys_rotate_without_a_refusal(scene: Scene) -> None:
    old = scene.issuer.token()
    assert scene.chat(old).status == 200
    scene.issuer.rotate("ES256")
    assert [scene.chat(token).status for token in (scene.issuer.token(), old) * 3] == [200] * 6
    assert scene.issuer.fetches == 2


# issuers of a tenant's own


def test_a_tenants_own_issuer_opens_that_tenant_alone_and_until_it_is_taken_away(scene: Scene) -> None:
    with issuing() as own:
        scene.deployment.callable_origins = (scene.issuer.url, own.url)
        with wiring.opening_into(scene.deployment.rooms()):
            for tenant in ("acme", "bolt"):
                scene.deployment.tenancy.people.put(tenant, "kim", "developer")
                scene.deployment.tenancy.people.join(own.url, "kim", None, of_tenant=None)
            token = own.token(sub="kim")
            assert scene.chat(token).status == 401
            scene.deployment.tenancy.issuers.put("acme", [configured(own)])
            assert [scene.chat(token, tenant).status for tenant in ("acme", "bolt")] == [200, 401]
            assert scene.gateway.call("GET", "/tenants/acme/usage", key=token).status == 200
            assert scene.chat(scene.issuer.token()).status == 200
            scene.deployment.tenancy.issuers.put("acme", [])
            assert scene.chat(token).status == 401
            assert scene.gateway.call("GET", "/tenants/acme/usage", key=token).status == 401


def test_a_tenant_maps_groups_of_its_issuer_to_roles_of_its_members(scene: Scene) -> None:
    with issuing() as own:
        scene.deployment.callable_origins = (own.url,)
        with wiring.opening_into(scene.deployment.rooms()):
            mapped = configured(own, groups_claim="groups", roles={"ml": "developer"})
            scene.deployment.tenancy.issuers.put("acme", [mapped])
            scene.deployment.tenancy.people.put("acme", "kim", "viewer")
            scene.deployment.tenancy.people.join(own.url, "kim", None, of_tenant="acme")
            assert scene.chat(own.token(sub="kim")).status == 403
            assert scene.chat(own.token(sub="kim", groups=["ml"])).status == 200
            assert scene.chat(own.token(sub="eve", groups=["ml"])).status == 404


def test_an_owner_says_whose_tokens_are_taken_and_reads_it_again(scene: Scene) -> None:
    key = scene.deployment.key()
    issuer = {"url": "https://login.example.com/acme", "audiences": ["cloister"], "subject_claim": "oid"}
    answer = scene.put_issuers(key, issuer)
    assert answer.status == 200, answer.body
    assert answer.json == scene.gateway.call("GET", "/tenants/acme/issuers", key=key).json
    assert answer.json["issuers"][0].items() >= issuer.items()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "http://login.example.com"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://2130706433"}, "url"),
        ({"url": "https://user@login.example.com"}, "url"),
        ({"url": "https://[::1]"}, "url"),
        ({"url": "https://login.example.com?a"}, "url"),
        ({"audiences": []}, "audiences"),
        ({"roles": {"staff": "owner"}}, "roles"),
        ({"groups_claim": "groups"}, "roles"),
        ({"roles": {"staff": "emperor"}, "groups_claim": "groups"}, "roles"),
        ({"secret": "s"}, "secret"),
    ],
)
def test_an_issuer_that_lets_in_anybody_or_leads_inside_is_refused(
    scene: Scene, wrong: dict[str, Any], field: str
) -> None:
    good = {"url": "https://login.example.com", "audiences": ["cloister"]}
    answer = scene.put_issuers(scene.deployment.key(), {**good, **wrong})
    assert answer.status == 400, answer.body
    assert field in answer.json["field"]
    assert not scene.deployment.tenancy.tenant("acme").issuers


def test_an_issuer_is_named_once_and_few_are(scene: Scene) -> None:
    good = {"url": "https://login.example.com", "audiences": ["cloister"]}
    for issuers in ([good, good], [{**good, "url": f"https://login-{number}.example.com"} for number in range(6)]):
        assert scene.put_issuers(scene.deployment.key(), *issuers).status == 400


# streams


Undo = Callable[[Deployment, Issuer], object]


def expire(deployment: Deployment, _: Issuer) -> None:
    deployment.clock.now_ms += 3_661_000  # an hour, and the leeway


def remove(deployment: Deployment, _: Issuer) -> None:
    deployment.tenancy.people.remove("acme", "ada")


def demote(deployment: Deployment, _: Issuer) -> None:
    deployment.tenancy.people.put("acme", "ada", "viewer")


@pytest.mark.parametrize(
    ("undo", "said"),
    [(expire, b"unknown, revoked or expired"), (remove, b"not one of its members"), (demote, b"permission infer")],
)
def test_a_stream_ends_with_the_token_or_the_member_that_began_it(issuer: Issuer, undo: Undo, said: bytes) -> None:
    running = Front(*BEGUN, look_s=AT_ONCE_S)
    operated(issuer, running.deployment)
    running.deployment.tenancy.people.put("acme", "eve", "owner")
    joined(running.deployment, issuer, "developer")
    running.key = issuer.token()

    async def scene() -> None:
        stream = Client(running)
        await stream.until(lambda: CHUNK in stream.body)
        undo(running.deployment, issuer)
        await stream.exchange
        assert stream.ended
        last = stream.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
        assert said in last
        assert msgspec.json.decode(last)["error"]

    play(running, scene)
    (entry,) = running.entries
    assert (entry.outcome, entry.reason) == ("failed", REVOKED)
