"""One address, two dialects: who sends `anthropic-version` is answered as Anthropic would, also where it is refused."""

from collections.abc import Iterable, Mapping

import anthropic
import msgspec
import openai
import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.scripted import Step, whole
from chalicelib.pool import Pool, Scripted, Target
from tests.api.test_error_shapes import shape_of
from tests.small_deployments import Deployment, Gateway

MODELS = "/tenants/acme/v1/models"
AS_ANTHROPIC = {"Anthropic-Version": "2023-06-01"}
CHATS, EMBEDS, BODIES = ("c-1", "c-2", "c-3"), "embeds", "bodies"


@pytest.fixture
def offering(deployment: Deployment) -> Deployment:
    targets = (Scripted("a", url="a"),)
    for name in CHATS:
        deployment.tenancy.put_pool(Pool(name, targets))
    deployment.tenancy.put_pool(Pool(EMBEDS, targets, ("embeddings",)))
    deployment.tenancy.put_pool(Pool(BODIES, targets, ("invoke",)))
    deployment.tenant("many", pools=(*CHATS, EMBEDS, BODIES))
    return deployment


def test_each_sdk_lists_the_models_that_it_can_use(gateway: Gateway, offering: Deployment) -> None:
    key, base = offering.key("many"), f"{gateway.base_url}/tenants/many"
    with openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0) as one:
        assert [model.id for model in one.models.list()] == [*CHATS, EMBEDS]
        assert one.models.retrieve(EMBEDS).object == "model"
    with anthropic.Anthropic(base_url=base, api_key=key, max_retries=0) as other:
        first = other.models.list(limit=2)
        assert (len(first.data), first.has_more, first.first_id, first.last_id) == (2, True, "c-1", "c-2")
        assert [model.id for model in first] == [*CHATS]  # by all pages
        assert [model.id for model in other.models.list(before_id="c-3").data] == ["c-1", "c-2"]
        model = other.models.retrieve("c-2")
        assert (model.type, model.id, model.display_name, model.lifecycle) == ("model", "c-2", "c-2", "active")
        assert model.created_at.timestamp() == offering.clock() // 1_000
        with pytest.raises(anthropic.NotFoundError) as missing:
            other.models.retrieve(EMBEDS)
    assert missing.value.response.headers["request-id"]


def test_a_key_for_anthropics_routes_lists_models_there_alone(gateway: Gateway, offering: Deployment) -> None:
    key = offering.key("acme", surfaces=("anthropic",))
    assert gateway.call("GET", MODELS, key=key, headers=AS_ANTHROPIC).status == 200
    assert gateway.call("GET", MODELS, key=key).status == 403
    assert gateway.call("GET", MODELS, key=offering.key("acme", surfaces=("openai",))).status == 200


@pytest.mark.parametrize(("headers", "shape"), [({}, "openai"), (AS_ANTHROPIC, "anthropic")])
@pytest.mark.parametrize(
    ("method", "path", "keyed", "status"),
    [
        ("GET", MODELS, False, 401),
        ("GET", f"{MODELS}/none", False, 401),
        ("GET", f"{MODELS}/none", True, 404),
        ("GET", f"{MODELS}?limit=0", True, 400),
        ("GET", f"{MODELS}?limit=some", True, 400),
        ("POST", MODELS, True, 405),
        ("GET", f"{MODELS}/a/b/c", True, 404),
    ],
)
def test_what_is_refused_there_is_refused_in_the_dialect_of_who_asks(
    gateway: Gateway, deployment: Deployment, method: str, path: str, keyed: bool, status: int, headers: dict[str, str],
    shape: str,
) -> None:  # fmt: skip
    key = deployment.key() if keyed else None
    answer = gateway.call(method, path, key=key, headers=headers)
    assert (answer.status, shape_of(answer)) == (status, shape)


@pytest.mark.parametrize("path", ["/tenants/acme/v1/chat/completions", "/tenants/acme/keys"])
def test_the_header_changes_nothing_elsewhere(gateway: Gateway, deployment: Deployment, path: str) -> None:
    with_it, without = (gateway.call("POST", path, json={}, headers=headers) for headers in (AS_ANTHROPIC, {}))
    assert shape_of(with_it) == shape_of(without) != "anthropic"


@pytest.mark.parametrize(
    "members",
    [
        {"encoding_format": None},
        {"encoding_format": None, "dimensions": None, "user": None},
        {"encoding_format": None, "dimensions": 8},
        {"encoding_format": "base64"},
        {},
    ],
)
def test_a_member_of_embeddings_that_is_null_is_left_out(gateway: Gateway, members: Mapping[str, object]) -> None:
    asked: list[Mapping[str, msgspec.Raw]] = []

    def says(_: Target, call: Call) -> Iterable[Step]:
        asked.append(call.fields)
        return whole("vectors")

    deployment = Deployment(script=says)
    deployment.tenancy.put_pool(Pool("model-a", (Scripted("a", url="a"),), ("embeddings",)))
    deployment.tenant()
    with wiring.opening_into(deployment.rooms()):
        body = {"model": "model-a", "input": "null", **members}
        assert gateway.call("POST", "/tenants/acme/v1/embeddings", key=deployment.key(), json=body).status == 200
    (fields,) = asked
    known = {name: msgspec.json.decode(said) for name, said in fields.items()}
    assert known == {name: said for name, said in body.items() if said is not None}
