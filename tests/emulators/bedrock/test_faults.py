"""What may be commanded: each fault, where it strikes, and what botocore makes of it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from botocore.exceptions import EventStreamError, ReadTimeoutError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from emulators.bedrock.refusal import STATUS
from tests.emulators.bedrock.served import HAIKU, NOVA, Served, anthropic, refused, said, user
from tests.patience import PATIENCE_S

RUNTIME_ERRORS = [
    "AccessDeniedException",
    "InternalServerException",
    "ModelErrorException",
    "ModelNotReadyException",
    "ModelTimeoutException",
    "ResourceNotFoundException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationException",
]


@pytest.mark.parametrize("error", RUNTIME_ERRORS)
def test_any_error_of_the_service_model_can_be_commanded(bedrock: Served, error: str) -> None:
    bedrock.command("fail", error=error, message="as commanded")

    with pytest.raises(getattr(bedrock.runtime.exceptions, error), match="as commanded") as raised:
        bedrock.converse()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == STATUS[error]
    assert bedrock.converse()["stopReason"] == "end_turn"


def test_a_throttle_strikes_as_often_as_commanded_and_says_when_to_come_back(bedrock: Served) -> None:
    bedrock.command("fail", error="ThrottlingException", times=2, retry_after_s=3)

    for _ in range(2):
        with pytest.raises(bedrock.runtime.exceptions.ThrottlingException, match="Too many requests") as raised:
            bedrock.converse()
        assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "3"
    assert bedrock.converse()["stopReason"] == "end_turn"


def test_a_fault_without_end_strikes_until_the_reset(bedrock: Served) -> None:
    bedrock.command("fail", error="ServiceUnavailableException", times=None)

    for _ in range(3):
        with refused("ServiceUnavailableException", "Bedrock is unable to process your request."):
            bedrock.converse()
    bedrock.command("reset")
    assert bedrock.converse()["stopReason"] == "end_turn"


@pytest.mark.parametrize("aim", [{"model": HAIKU}, {"region": "us-east-1"}, {"operation": "Converse"}])
def test_a_fault_strikes_only_what_it_is_aimed_at(bedrock: Served, aim: dict[str, str]) -> None:
    bedrock.command("fail", error="ThrottlingException", times=None, **aim)
    other = bedrock.client(region="us-west-2")

    assert other.converse_stream(modelId=NOVA, messages=[user("hello")])
    with refused("ThrottlingException"):
        bedrock.converse()


def test_the_control_plane_can_be_struck_too(bedrock: Served) -> None:
    bedrock.command("fail", error="ThrottlingException", operation="ListInferenceProfiles")

    with refused("ThrottlingException"):
        bedrock.management.list_inference_profiles()


def test_a_fault_in_a_stream_is_an_event_that_botocore_raises(bedrock: Served) -> None:
    bedrock.command("fail", error="ModelStreamErrorException", after_events=3)
    events = iter(bedrock.converse_stream("one two three"))

    assert [next(iter(next(events))) for _ in range(3)] == ["messageStart", "contentBlockDelta", "contentBlockDelta"]
    with pytest.raises(EventStreamError, match="modelStreamErrorException") as raised:
        next(events)
    assert "unexpected error during processing" in raised.value.response["Error"]["Message"]


def test_a_fault_in_a_stream_waits_for_one(bedrock: Served) -> None:
    bedrock.command("fail", error="InternalServerException", after_events=0)

    assert bedrock.converse()["stopReason"] == "end_turn"
    with pytest.raises(EventStreamError, match="internalServerException"):
        bedrock.invoke_stream(anthropic())


def test_a_stream_that_is_cut_breaks_in_the_middle_of_an_event(bedrock: Served) -> None:
    bedrock.command("cut", after_events=2)
    events = iter(bedrock.converse_stream("one two three"))

    assert [next(iter(next(events))) for _ in range(2)] == ["messageStart", "contentBlockDelta"]
    with pytest.raises((ResponseStreamingError, HTTPError)):
        next(events)


def test_an_answer_that_is_cut_breaks_in_the_middle_of_its_body(bedrock: Served) -> None:
    bedrock.command("cut", times=3)

    with pytest.raises(ResponseStreamingError):
        bedrock.invoke(anthropic())
    with pytest.raises((ResponseStreamingError, HTTPError)):
        list(bedrock.converse_stream())
    # botocore does not compare lengths here: half an answer comes out as one without members, and who calls must look.
    assert "output" not in bedrock.converse()


def test_a_stalled_answer_comes_when_it_is_released(bedrock: Served) -> None:
    bedrock.command("stall")
    with ThreadPoolExecutor(1) as threads:
        stalled = threads.submit(bedrock.converse)
        while not stalled.done():  # the release may come before the request does
            bedrock.command("release")
        assert stalled.result()["stopReason"] == "end_turn"


def test_a_stalled_answer_times_the_caller_out(bedrock: Served) -> None:
    bedrock.command("stall")
    with pytest.raises(ReadTimeoutError):
        bedrock.client(patience_s=0.1).converse(modelId=HAIKU, messages=[user("hello")])
    assert bedrock.converse()["stopReason"] == "end_turn"


def test_a_stall_for_a_time_ends_by_itself(bedrock: Served) -> None:
    bedrock.command("stall", for_ms=1)
    bedrock.command("stall", for_ms=1, after_events=2)

    assert said(bedrock.converse_stream("one two")) == "one two"


def test_a_stream_stalls_between_two_events(bedrock: Served) -> None:
    bedrock.command("stall", after_events=2)
    events = iter(bedrock.converse_stream("one two"))
    first = [next(events), next(events)]

    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, events)
        assert not rest.done()
        while not rest.done():
            bedrock.command("release")
        assert said([*first, *rest.result()]) == "one two"


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"nothing",
        b'{"do": "explode"}',
        b'{"do": "fail"}',
        b'{"do": "fail", "error": "NoSuchException"}',
        b'{"do": "stall", "forms": 3}',
        b'{"do": "say"}',
    ],
)
def test_what_is_no_command_is_refused_with_what_is_wrong(bedrock: Served, command: bytes) -> None:
    answer = httpx.post(f"{bedrock.url}/_control", content=command, timeout=PATIENCE_S)

    assert answer.status_code == 400
    assert "This is no command" in answer.text or "There is no error NoSuchException" in answer.text
    assert bedrock.converse()["stopReason"] == "end_turn"


def test_calls_are_told_in_their_order_with_what_became_of_them(bedrock: Served) -> None:
    bedrock.command("fail", error="ThrottlingException")
    with refused("ThrottlingException"):
        bedrock.converse()
    bedrock.converse(model=f"us.{NOVA}")
    bedrock.management.list_foundation_models()

    told = [(call["operation"], call["called_by"], call["status"]) for call in bedrock.calls()]
    assert told == [("Converse", HAIKU, 429), ("Converse", f"us.{NOVA}", 200), ("ListFoundationModels", "", 200)]


def test_thirty_callers_at_once_get_each_their_own_answer(bedrock: Served) -> None:
    def ask(number: int) -> bool:
        words = f"caller {number} says this"
        if number % 2:
            return said(bedrock.converse_stream(words)) == words
        return bool(bedrock.converse(words)["output"]["message"]["content"] == [{"text": words}])

    with ThreadPoolExecutor(30) as threads:
        assert all(threads.map(ask, range(120)))
