"""What sandboxes tell each other of inference profiles."""

from chalicelib.documents import Documents
from chalicelib.documents.store import DynamoDocuments
from chalicelib.tenancy.inference_profiles import InferenceProfiles
from tests.stores import reach_tables
from tests.tenancy.interleaving import Interrupted

PLACE = "us-east-1 us bedrock-key"
MODEL = "anthropic.claude-sonnet-4-20250514-v1:0"


def test_what_one_sandbox_found_another_knows(documents: Documents) -> None:
    InferenceProfiles(documents).remember(PLACE, MODEL, f"us.{MODEL}")
    assert InferenceProfiles(documents).recall(PLACE, MODEL) == f"us.{MODEL}"


def test_another_place_and_another_model_are_not_known(documents: Documents) -> None:
    InferenceProfiles(documents).remember(PLACE, MODEL, f"us.{MODEL}")
    assert InferenceProfiles(documents).recall("eu-west-1 eu", MODEL) is None
    assert InferenceProfiles(documents).recall(PLACE, "amazon.nova-lite-v1:0") is None


def test_what_was_found_last_is_right(documents: Documents) -> None:
    for profile in ("gone", "new"):
        InferenceProfiles(documents).remember(PLACE, MODEL, profile)
    assert InferenceProfiles(documents).recall(PLACE, MODEL) == "new"


def test_a_store_that_does_not_answer_knows_nothing_and_breaks_nothing() -> None:
    nowhere = InferenceProfiles(DynamoDocuments(reach_tables("http://127.0.0.1:9", "nowhere", deadline_ms=100)))
    nowhere.remember(PLACE, MODEL, f"us.{MODEL}")
    assert nowhere.recall(PLACE, MODEL) is None


def test_a_race_that_is_lost_breaks_nothing(documents: Documents) -> None:
    theirs = InferenceProfiles(documents)
    ours = InferenceProfiles(Interrupted(documents, 1, lambda: theirs.remember(PLACE, MODEL, "theirs")))
    ours.remember(PLACE, MODEL, "ours")
    assert ours.recall(PLACE, MODEL) == "theirs"
