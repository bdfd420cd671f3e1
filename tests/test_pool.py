"""Targets of every kind: as they were stored before they had kinds of their own, and what makes two one place."""

import json
from typing import Any, Literal, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.pool import Bedrock, OpenAICompatible, Pool, SageMaker, Scripted, Target

KINDS: tuple[type[Target], ...] = get_args(Target)


class OneForAll(msgspec.Struct, frozen=True):
    """What a target was when one struct stood for every kind. Gateways of that time may still read what is written."""

    name: str
    engine: Literal["sagemaker", "openai_compatible", "bedrock", "scripted"]
    model: str = ""
    weight: int = 1
    capacity: int = 1
    url: str = ""
    endpoint: str = ""
    component: str = ""
    target_model: str = ""
    region: str = ""
    secret: str = ""
    profile: str = ""
    geographies: tuple[str, ...] = ()


class PoolOfThem(msgspec.Struct, frozen=True):
    name: str
    targets: tuple[OneForAll, ...]
    operations: tuple[str, ...] = ("chat.completions", "completions")
    default_max_tokens: int = 512
    max_tokens: int = 4_096
    bytes_per_token: int = 3
    input_micro_usd_per_mtok: int = 0
    output_micro_usd_per_mtok: int = 0
    gpu_ms_ceiling: int = 0
    sealed: bool = False
    created_s: int = 0


STORED: dict[str, Target] = {
    '{"name":"a","engine":"sagemaker","model":"m","weight":0,"capacity":8,"url":"","endpoint":"e","component":"c",'
    '"target_model":"","region":"","secret":"","profile":"","geographies":[]}': SageMaker(
        "a", "m", 0, 8, endpoint="e", component="c"
    ),
    '{"name":"a","engine":"sagemaker","model":"","weight":1,"capacity":1,"url":"","endpoint":"e","component":"",'
    '"target_model":"t.tar.gz","region":"","secret":"","profile":"","geographies":[]}': SageMaker(
        "a", endpoint="e", target_model="t.tar.gz"
    ),
    '{"name":"b","engine":"openai_compatible","model":"org/m","weight":2,"capacity":4,"url":"http://10.0.0.7:8000/v1",'
    '"endpoint":"","component":"","target_model":"","region":"","secret":"","profile":"","geographies":[]}': (
        OpenAICompatible("b", "org/m", 2, 4, url="http://10.0.0.7:8000/v1")
    ),
    '{"name":"c","engine":"bedrock","model":"anthropic.x","weight":1,"capacity":1,"url":"","endpoint":"","component":"",'
    '"target_model":"","region":"us-east-1","secret":"s","profile":"us.anthropic.x","geographies":["us","eu"]}': (
        Bedrock("c", "anthropic.x", region="us-east-1", secret="s", profile="us.anthropic.x", geographies=("us", "eu"))
    ),
    '{"name":"c","engine":"bedrock","model":"","weight":1,"capacity":1,"url":"","endpoint":"","component":"",'
    '"target_model":"","region":"","secret":"s","profile":"","geographies":[]}': Bedrock("c", secret="s"),
    '{"name":"d","engine":"scripted","model":"","weight":1,"capacity":1,"url":"d","endpoint":"","component":"",'
    '"target_model":"","region":"us-east-1","secret":"","profile":"","geographies":[]}': Scripted("d", url="d"),
}

TEXTS = st.sampled_from(["", "x", "é", "http://10.0.0.7/v1", "us-east-1"])


@st.composite
def stored(draw: st.DrawFn) -> OneForAll:
    """One that the operator's surface took: each kind with its address, and with whatever else."""
    members: dict[str, Any] = {name: draw(TEXTS) for name in _texts()}
    members["engine"] = draw(st.sampled_from([str(kind.__struct_config__.tag) for kind in KINDS]))
    address = {"sagemaker": {"endpoint": "e"}, "openai_compatible": {"url": "https://h/v1"}, "bedrock": {"region": "r"}}
    numbers = {"weight": draw(st.integers(0, 10**9)), "capacity": draw(st.integers(1, 10**9))}
    geographies = tuple(draw(st.lists(TEXTS, max_size=2)))
    return OneForAll(**{**members, **address.get(members["engine"], {}), **numbers}, geographies=geographies)


def _texts() -> list[str]:
    return [name for name in OneForAll.__struct_fields__ if name not in ("engine", "weight", "capacity", "geographies")]


def now(text: str | bytes) -> Target:
    found: Target = msgspec.json.decode(text, type=Target)
    return found


def test_every_kind_has_a_stored_example() -> None:
    assert {type(target) for target in STORED.values()} == set(KINDS)


@pytest.mark.parametrize(("text", "target"), STORED.items(), ids=lambda each: getattr(each, "engine", ""))
def test_a_target_that_was_stored_before_is_one_of_its_kind(text: str, target: Target) -> None:
    assert set(json.loads(text)) == set(OneForAll.__struct_fields__)
    assert now(text) == target


@given(stored())
def test_nothing_that_a_kind_needs_is_lost_either_way(before: OneForAll) -> None:
    target = now(msgspec.json.encode(before))
    after = msgspec.json.decode(msgspec.json.encode(target), type=OneForAll)
    own = {name: getattr(before, name) for name in ("engine", *target.__struct_fields__)}
    assert after == OneForAll(**own)
    assert target.engine == before.engine


def test_a_pool_that_was_stored_before_is_the_same_pool_and_is_still_read_by_those_who_wrote_it() -> None:
    targets = f"[{','.join(STORED)}]"
    text = (
        f'{{"name":"p","targets":{targets},"operations":["chat.completions","embeddings"],"default_max_tokens":64,'
        '"max_tokens":900,"bytes_per_token":1,"input_micro_usd_per_mtok":5,"output_micro_usd_per_mtok":6,'
        '"gpu_ms_ceiling":7,"sealed":true,"created_s":8}'
    )
    pool = msgspec.json.decode(text, type=Pool)
    assert pool.targets == tuple(STORED.values())
    before = msgspec.json.decode(text, type=PoolOfThem)
    after = msgspec.json.decode(msgspec.json.encode(pool), type=PoolOfThem)
    rest = [name for name in PoolOfThem.__struct_fields__ if name != "targets"]
    assert [getattr(pool, name) for name in rest] == [getattr(before, name) for name in rest]
    assert [getattr(after, name) for name in rest] == [getattr(before, name) for name in rest]
    assert [target.name for target in after.targets] == [target.name for target in before.targets]


URL = "http://10.0.0.7:8000/v1"
ONE_PLACE: list[tuple[Target, Target]] = [
    (SageMaker("a", endpoint="e", component="c"), SageMaker("b", "m", 0, 9, endpoint="e", component="c")),
    (SageMaker("a", endpoint="e", target_model="t"), SageMaker("b", endpoint="e", target_model="t")),
    (OpenAICompatible("a", url=URL), OpenAICompatible("b", "m", url=URL)),
    (Bedrock("a", "m", region="r"), Bedrock("b", "m", region="r", geographies=("us",))),
    (Bedrock("a", "m", region="r", profile="p"), Bedrock("b", "n", region="r", profile="p")),
    (Scripted("a", url="u"), Scripted("b", url="u")),
]
TWO_PLACES: list[tuple[Target, Target]] = [
    (SageMaker("a", endpoint="e", component="c"), SageMaker("a", endpoint="e", component="d")),
    (SageMaker("a", endpoint="e", target_model="t"), SageMaker("a", endpoint="e", target_model="u")),
    (SageMaker("a", endpoint="e"), SageMaker("a", endpoint="f")),
    (OpenAICompatible("a", url=URL), OpenAICompatible("a", url="http://10.0.0.8:8000/v1")),
    (Bedrock("a", "m", region="r"), Bedrock("a", "m", region="s")),
    (Bedrock("a", "m", region="r"), Bedrock("a", "n", region="r")),
    (Bedrock("a", "m", region="r"), Bedrock("a", "m", region="r", secret="s")),
    (Bedrock("a", "m", region="r"), Bedrock("a", "m", region="r", profile="p")),
    (Scripted("a"), Scripted("b")),
    (Scripted("a", url=URL), OpenAICompatible("a", url=URL)),
]


@pytest.mark.parametrize(("one", "other"), ONE_PLACE)
def test_targets_that_are_one_place_share_its_fate_and_its_probe(one: Target, other: Target) -> None:
    assert one.place() == other.place()
    assert one.probe_place == other.probe_place


@pytest.mark.parametrize(("one", "other"), TWO_PLACES)
def test_targets_that_are_two_places_fail_apart(one: Target, other: Target) -> None:
    assert one.place() != other.place()
    # The models of a multi-model endpoint share its instances, and to probe one is to load it.
    many = isinstance(one, SageMaker) and one.target_model != ""
    assert (one.probe_place == other.probe_place) == many


@pytest.mark.parametrize("target", STORED.values(), ids=lambda target: target.engine)
def test_the_model_that_a_call_names_is_a_place_of_its_own_where_the_target_leaves_it_open(target: Target) -> None:
    is_open = isinstance(target, Bedrock) and not target.model
    assert (target.place("x") != target.place("y")) == is_open
    assert (target.place("x") != target.place()) == is_open


@pytest.mark.parametrize("target", STORED.values(), ids=lambda target: target.engine)
def test_only_calls_to_bedrock_leave_for_another_partition(target: Target) -> None:
    assert target.crosses_partition == isinstance(target, Bedrock)
    if not target.crosses_partition:
        assert target.destination("eu-west-1") == "eu-west-1"


def test_where_a_call_is_run_is_said_only_where_it_is_known() -> None:
    assert Bedrock("a", region="us-gov-west-1").destination("eu-west-1") == "us-gov-west-1"
    assert Bedrock("a", region="us-gov-west-1", secret="s").destination("eu-west-1") == "us-gov-west-1"
    assert Bedrock("a", secret="s").destination("eu-west-1") == ""


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://api.openai.com/v1", True),
        ("https://8.8.8.8/v1", True),
        ("http://10.0.0.7:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://[fd00::7]:8000/v1", True),
        ("http://vllm:8000/v1", True),
        ("http://vllm_1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://ip-10-0-0-7.ec2.internal/v1", True),
        ("http://vllm.default.svc.cluster.local/v1", True),
        ("http://api.openai.com/v1", False),
        ("http://8.8.8.8/v1", False),
        ("http://[2001:4860:4860::8888]/v1", False),
        ("http://internal.example.com/v1", False),
        ("http://134744072/v1", False),
        ("http://0x08080808/v1", False),
        ("http://models.example.com\\.internal/v1", False),
        ("http://models.example.com%2f.internal/v1", False),
        ("http://[::ffff:8.8.8.8]/v1", False),
        ("http:///v1", False),
    ],
)
def test_a_key_may_go_where_nobody_on_the_way_can_read_it(url: str, private: bool) -> None:
    assert OpenAICompatible("a", url=url).private == private


def test_servers_that_are_asked_with_different_keys_are_different_places() -> None:
    ours, theirs, open_to_all = (OpenAICompatible("a", url="https://a/v1", secret=secret) for secret in ("x", "y", ""))
    assert len({each.place() for each in (ours, theirs, open_to_all)}) == 3
    assert open_to_all.place() == "openai_compatible https://a/v1"
