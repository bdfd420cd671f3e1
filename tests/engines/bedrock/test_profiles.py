"""Models that are served through inference profiles only, and where requests may run."""

import threading

import pytest

from chalicelib.call import Started
from chalicelib.engines.bedrock.engine import BedrockEngine
from chalicelib.engines.transport.bounds import monotonic_ms
from chalicelib.pool import Bedrock
from chalicelib.refusal import EngineFailed, Malformed
from tests.engines.bedrocks import (
    ANY_MODEL,
    HAIKU,
    NOVA,
    ON_HAIKU,
    ON_SONNET,
    OPUS,
    SONNET,
    LocalBedrock,
    Memory,
    anthropic,
    chat,
    invoke,
    message,
    sandbox,
)

FROM_EUROPE = Bedrock("eu-opus", model=OPUS, region="eu-central-1")  # has a profile in the US only
COUNTED = {"ListInferenceProfiles", "CreateInferenceProfile", "GetInferenceProfile"}


def profile_of(engine: BedrockEngine, target: Bedrock) -> str:
    """The inference profile that a chat went through; empty: none."""
    stream = engine.open(target, chat())
    started = next(iter(stream))
    assert isinstance(started, Started)
    return started.detail.get("inference_profile", "")


def test_the_profile_of_the_regions_geography_is_found_and_the_call_repeated(bedrock: LocalBedrock) -> None:
    assert profile_of(sandbox(), ON_SONNET) == f"us.{SONNET}"
    assert bedrock.operations() == ["Converse", "ListInferenceProfiles", "Converse"]
    assert bedrock.calls()[-1]["called_by"] == f"us.{SONNET}"


def test_what_was_found_makes_no_extra_call_again_in_this_sandbox_or_another(bedrock: LocalBedrock) -> None:
    memory = Memory()
    engine = sandbox(memory=memory)
    profile_of(engine, ON_SONNET)
    found = len(bedrock.calls())
    for each in (engine, sandbox(memory=memory)):
        assert profile_of(each, ON_SONNET) == f"us.{SONNET}"
    assert bedrock.operations()[found:] == ["Converse", "Converse"]


def test_streams_and_messages_find_their_profile_too(bedrock: LocalBedrock) -> None:
    for call in (chat(stream=True), message(), message(stream=True)):
        list(sandbox().open(ON_SONNET, call))
    assert [call["status"] for call in bedrock.calls() if call["operation"] not in COUNTED] == [400, 200] * 3


def test_a_model_that_needs_no_profile_gets_none(bedrock: LocalBedrock) -> None:
    assert profile_of(sandbox(), ON_HAIKU) == ""
    assert bedrock.operations() == ["Converse"]


def test_where_residency_allows_no_profile_an_application_profile_is_made(bedrock: LocalBedrock) -> None:
    memory = Memory()
    made = profile_of(sandbox(memory=memory), FROM_EUROPE)
    assert ":eu-central-1:" in made
    assert ":application-inference-profile/" in made
    assert bedrock.operations() == ["Converse", "ListInferenceProfiles", "CreateInferenceProfile", "Converse"]
    assert profile_of(sandbox(memory=memory), FROM_EUROPE) == made
    assert bedrock.operations()[4:] == ["Converse"]


def test_an_application_profile_that_somebody_made_before_is_used(bedrock: LocalBedrock) -> None:
    made = profile_of(sandbox(), FROM_EUROPE)
    assert profile_of(sandbox(), FROM_EUROPE) == made


def test_an_application_profile_that_reaches_other_regions_is_not_used(bedrock: LocalBedrock) -> None:
    strict = Bedrock("eu", model=SONNET, region="eu-central-1", geographies=("us",))  # has none in Europe
    access = sandbox().access(strict)
    until_ms = monotonic_ms() + 10_000
    profiles = access.control("list_inference_profiles", {}, until_ms)["inferenceProfileSummaries"]
    wide = next(each for each in profiles if each["inferenceProfileId"] == f"global.{SONNET}")
    name = "cross-partition-anthropic-claude-sonnet-4-20250514-v1-0"
    source = {"copyFrom": wide["inferenceProfileArn"]}
    asked = {"inferenceProfileName": name, "modelSource": source}
    access.control("create_inference_profile", asked, until_ms)
    with pytest.raises(EngineFailed):
        profile_of(sandbox(), strict)


def test_sandboxes_that_search_at_the_same_time_find_the_same(bedrock: LocalBedrock) -> None:
    found: list[str] = []
    searches = [threading.Thread(target=lambda: found.append(profile_of(sandbox(), FROM_EUROPE))) for _ in range(4)]
    for search in searches:
        search.start()
    for search in searches:
        search.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_the_operator_may_allow_other_geographies_and_the_first_is_preferred(bedrock: LocalBedrock) -> None:
    anywhere = Bedrock("eu", model=SONNET, region="eu-central-1", geographies=("global", "eu"))
    assert profile_of(sandbox(), anywhere) == f"global.{SONNET}"


def test_two_residency_rules_share_no_profile(bedrock: LocalBedrock) -> None:
    memory = Memory()
    anywhere = Bedrock("a", model=SONNET, region="eu-central-1", geographies=("global",))
    here = Bedrock("b", model=SONNET, region="eu-central-1")
    engine = sandbox(memory=memory)
    assert profile_of(engine, anywhere) == f"global.{SONNET}"
    assert profile_of(engine, here) == f"eu.{SONNET}"


def test_a_profile_that_is_gone_is_found_anew(bedrock: LocalBedrock) -> None:
    memory = Memory()
    engine = sandbox(memory=memory)
    gone = profile_of(engine, FROM_EUROPE)
    bedrock.do("reset")  # application profiles too
    found = profile_of(engine, FROM_EUROPE)
    assert found != gone
    assert profile_of(sandbox(memory=memory), FROM_EUROPE) == found


def test_a_profile_that_the_operator_names_is_used_always(bedrock: LocalBedrock) -> None:
    named = Bedrock("us", model=HAIKU, region="us-east-1", profile=f"us.{HAIKU}")
    assert profile_of(sandbox(), named) == f"us.{HAIKU}"
    in_place = Bedrock("us", model=f"us.{SONNET}", region="us-east-1")
    assert profile_of(sandbox(), in_place) == f"us.{SONNET}"
    assert bedrock.operations() == ["Converse", "Converse"]


def test_where_no_profile_can_be_made_a_caller_hears_what_to_do(bedrock: LocalBedrock) -> None:
    refused = {"operation": "CreateInferenceProfile", "error": "AccessDeniedException", "times": None}
    bedrock.do("fail", **refused)
    europe = Bedrock("eu", region="eu-central-1")
    with pytest.raises(Malformed, match="none is in a geography that is allowed here"):
        sandbox().open(europe, invoke(OPUS, anthropic()))
    with pytest.raises(EngineFailed):
        sandbox().open(FROM_EUROPE, chat())


def test_a_caller_may_name_a_profile_that_is_allowed(bedrock: LocalBedrock) -> None:
    engine = sandbox()
    list(engine.open(ANY_MODEL, invoke(SONNET, anthropic(), inferenceProfile=f"us.{SONNET}")))
    list(engine.open(ANY_MODEL, invoke(f"us.{SONNET}", anthropic())))
    assert [call["called_by"] for call in bedrock.calls()] == [f"us.{SONNET}"] * 2


def test_a_target_with_a_model_of_its_own_runs_no_other_for_a_caller_who_names_one(bedrock: LocalBedrock) -> None:
    list(sandbox().open(ON_HAIKU, invoke(HAIKU, anthropic())))
    for model, profile in ((NOVA, None), (f"us.{NOVA}", None), (HAIKU, f"eu.{HAIKU}")):
        with pytest.raises(Malformed):
            sandbox().open(ON_HAIKU, invoke(model, anthropic(), inferenceProfile=profile))
    assert [call["called_by"] for call in bedrock.calls()] == [HAIKU]


@pytest.mark.parametrize(
    ("model", "profile", "why"),
    [
        (SONNET, f"eu.{SONNET}", "of the geography eu; data may be in us only"),
        (SONNET, f"global.{SONNET}", "of the geography global"),
        (f"apac.{SONNET}", None, "of the geography apac"),
        (f"xx-new.{SONNET}", None, "of the geography xx-new"),
        (SONNET, f"us.{NOVA}", "one of the model's own"),
        (f"us.{SONNET}", f"us.{NOVA}", "one of the model's own"),
        (SONNET, "arn:aws:bedrock:us-east-1:1:application-inference-profile/other", "one of the model's own"),
        (f"arn:aws:bedrock:eu-west-1::foundation-model/{HAIKU}", None, "not an ARN"),
        ("../../etc", None, "not an ARN"),
        ("", None, "not an ARN"),
    ],
)
def test_a_caller_may_not_name_another(bedrock: LocalBedrock, model: str, profile: str | None, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        sandbox().open(ANY_MODEL, invoke(model, anthropic(), inferenceProfile=profile))
    assert bedrock.calls() == []
