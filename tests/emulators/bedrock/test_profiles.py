"""Models and inference profiles: who must be called by one, and which a region has."""

import pytest

from tests.emulators.bedrock.served import HAIKU, NOVA, OPUS, OPUS_41, SONNET, SONNET_35, Served, refused, user

ON_DEMAND = "on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile"


def profiles(bedrock: Served, region: str, **members: str) -> set[str]:
    found = bedrock.client("bedrock", region).list_inference_profiles(**members)["inferenceProfileSummaries"]
    return {each["inferenceProfileId"] for each in found}


def test_a_model_that_needs_a_profile_says_so_in_bedrocks_words(bedrock: Served) -> None:
    with refused("ValidationException", f"Invocation of model ID {SONNET} with {ON_DEMAND}"):
        bedrock.converse(model=SONNET)


def test_a_model_is_called_by_a_profiles_id_and_by_its_arn(bedrock: Served) -> None:
    arn = bedrock.management.get_inference_profile(inferenceProfileIdentifier=f"us.{SONNET}")["inferenceProfileArn"]

    for identifier in (f"us.{SONNET}", f"global.{SONNET}", arn):
        assert bedrock.converse(model=identifier)["stopReason"] == "end_turn"
    assert bedrock.calls()[-1]["called_by"] == arn


def test_a_model_is_called_by_its_own_arn(bedrock: Served) -> None:
    models = bedrock.management.list_foundation_models()["modelSummaries"]
    arns = {each["modelId"]: each["modelArn"] for each in models}

    assert bedrock.converse(model=arns[HAIKU])["stopReason"] == "end_turn"
    with refused("ValidationException", ON_DEMAND):
        bedrock.converse(model=arns[SONNET])


@pytest.mark.parametrize(
    ("region", "geographies"),
    [
        ("us-west-2", {"us", "global"}),
        ("eu-west-1", {"eu", "global"}),
        ("ap-south-1", {"apac", "global"}),
        ("us-gov-west-1", {"us-gov"}),
    ],
)
def test_a_region_has_the_profiles_of_its_own_geography_and_the_global_ones(
    bedrock: Served, region: str, geographies: set[str]
) -> None:
    assert {each.partition(".")[0] for each in profiles(bedrock, region)} == geographies


@pytest.mark.parametrize("identifier", [f"eu.{SONNET}", f"apac.{SONNET}", "us.no.such-model", "what", f"us.{OPUS}x"])
def test_a_profile_of_another_geography_is_as_unknown_as_none_at_all(bedrock: Served, identifier: str) -> None:
    with refused("ValidationException", "The provided model identifier is invalid."):
        bedrock.converse(model=identifier)


def test_a_region_without_a_profile_of_a_model_can_make_one(bedrock: Served) -> None:
    europe, runtime = bedrock.client("bedrock", "eu-west-1"), bedrock.client(region="eu-west-1")
    source = europe.get_foundation_model(modelIdentifier=OPUS)["modelDetails"]["modelArn"]
    made = europe.create_inference_profile(
        inferenceProfileName="cross-partition-opus", modelSource={"copyFrom": source}
    )
    arn = made["inferenceProfileArn"]
    found = europe.get_inference_profile(inferenceProfileIdentifier=arn)

    assert made["status"] == "ACTIVE"
    assert ":eu-west-1:123456789012:application-inference-profile/" in arn
    assert (found["type"], found["models"]) == ("APPLICATION", [{"modelArn": source}])
    assert runtime.converse(modelId=arn, messages=[user("hello")])["stopReason"] == "end_turn"
    assert profiles(bedrock, "eu-west-1", typeEquals="APPLICATION") == {found["inferenceProfileId"]}
    with refused("ValidationException", "The provided model identifier is invalid."):
        bedrock.converse(model=arn)  # in us-east-1, which has no such profile


def test_a_profile_copied_from_another_has_its_models(bedrock: Served) -> None:
    source = bedrock.management.get_inference_profile(inferenceProfileIdentifier=f"us.{SONNET}")
    made = bedrock.management.create_inference_profile(
        inferenceProfileName="cross-partition-sonnet", modelSource={"copyFrom": source["inferenceProfileArn"]}
    )
    arn = made["inferenceProfileArn"]
    copied = bedrock.management.get_inference_profile(inferenceProfileIdentifier=arn)

    assert copied["models"] == source["models"]
    with refused("ValidationException", "cannot be copied from another application inference profile"):
        bedrock.management.create_inference_profile(inferenceProfileName="again", modelSource={"copyFrom": arn})


def test_two_profiles_of_one_name_are_a_conflict_until_one_is_deleted(bedrock: Served) -> None:
    source = bedrock.management.get_foundation_model(modelIdentifier=NOVA)["modelDetails"]["modelArn"]
    wanted = {"inferenceProfileName": "mine", "modelSource": {"copyFrom": source}}
    arn = bedrock.management.create_inference_profile(**wanted)["inferenceProfileArn"]

    with refused("ConflictException"):
        bedrock.management.create_inference_profile(**wanted)
    bedrock.management.delete_inference_profile(inferenceProfileIdentifier=arn)
    assert bedrock.management.create_inference_profile(**wanted)["inferenceProfileArn"] != arn


def test_profiles_come_page_by_page(bedrock: Served) -> None:
    pages = bedrock.management.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 2})
    found = [each["inferenceProfileId"] for page in pages for each in page["inferenceProfileSummaries"]]

    assert len(found) == len(set(found))
    assert set(found) == profiles(bedrock, "us-east-1")


def test_models_are_filtered_as_the_caller_wants(bedrock: Served) -> None:
    def found(**filters: str) -> set[str]:
        models = bedrock.management.list_foundation_models(**filters)["modelSummaries"]
        return {each["modelId"] for each in models}

    assert found(byProvider="Anthropic") == {HAIKU, SONNET_35, SONNET, OPUS, OPUS_41}
    assert SONNET not in found(byInferenceType="ON_DEMAND")
    assert found(byOutputModality="TEXT") == found()
    assert found(byOutputModality="EMBEDDING") == found(byCustomizationType="FINE_TUNING") == set()


@pytest.mark.parametrize("identifier", ["us.nothing", f"eu.{SONNET}", "a1b2c3d4e5f6"])
def test_a_profile_that_is_not_there_is_not_found(bedrock: Served, identifier: str) -> None:
    with refused("ResourceNotFoundException"):
        bedrock.management.get_inference_profile(inferenceProfileIdentifier=identifier)
