"""The SageMaker runtime of the local cloud, as botocore's own client sees it."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.emulators.conftest import Sky
from tests.patience import PATIENCE_S


def _invoke(sky: Sky, endpoint: str = "alone", body: dict[str, Any] | None = None, **named: str) -> Any:
    client = sky.aws.client("sagemaker-runtime")
    named = {"ContentType": "application/json", **named}
    return client.invoke_endpoint(EndpointName=endpoint, Body=json.dumps(body or {}).encode(), **named)


def _stream(sky: Sky, body: dict[str, Any], **named: str) -> Any:
    client = sky.aws.client("sagemaker-runtime")
    named = {"EndpointName": "alone", "ContentType": "application/json", **named}
    return client.invoke_endpoint_with_response_stream(Body=json.dumps(body).encode(), **named)


def _refused(sky: Sky, *args: Any, **named: Any) -> Any:
    with pytest.raises(ClientError) as raised:
        _invoke(sky, *args, **named)
    return raised.value.response


def test_an_invocation_reaches_the_container_and_its_answer_comes_back(sky: Sky) -> None:
    answer = _invoke(sky, body={"say": "hello"}, CustomAttributes="op=probe;tenant=t1")

    assert json.loads(answer["Body"].read()) == {"path": "/invocations", "said": {"say": "hello"}}
    assert answer["ContentType"] == "application/json"
    assert answer["CustomAttributes"] == "instance=stand-in;queue_ms=3"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    _, _, headers, _ = sky.alone.requests.get_nowait()
    assert headers["x-amzn-sagemaker-custom-attributes"] == "op=probe;tenant=t1"
    assert headers["content-type"] == "application/json"


def test_credentials_stay_in_the_cloud(sky: Sky) -> None:
    _invoke(sky)

    _, _, headers, _ = sky.alone.requests.get_nowait()
    assert not [name for name in headers if name.startswith(("authorization", "x-amz-"))]


def test_an_inference_component_has_a_container_of_its_own(sky: Sky) -> None:
    _invoke(sky, "parts", InferenceComponentName="part")

    assert sky.part.calls == ["POST /invocations"]
    assert sky.alone.calls == []


@pytest.mark.parametrize(
    ("endpoint", "named", "says"),
    [
        ("nowhere", {}, "Endpoint nowhere of account 123456789012 not found."),
        ("parts", {}, "Inference Component Name header is required"),
        ("parts", {"InferenceComponentName": "other"}, "Inference Component other of account 123456789012 not found."),
        ("parts", {"InferenceComponentName": "asleep"}, "Inference Component has no capacity to process this request."),
        ("alone", {"TargetModel": "a"}, "is not a multi-model endpoint"),
        ("many", {}, "Target model header is required"),
        ("many", {"TargetModel": "unheard-of"}, "Failed to download model data"),
    ],
)
def test_what_does_not_suit_the_endpoint_is_a_validation_error(
    sky: Sky, endpoint: str, named: dict[str, str], says: str
) -> None:
    refused = _refused(sky, endpoint, **named)

    assert refused["Error"]["Code"] == "ValidationError"
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert says in refused["Error"]["Message"]


def test_custom_attributes_longer_than_the_service_allows_are_refused(sky: Sky) -> None:
    assert _refused(sky, CustomAttributes="x" * 1025)["Error"]["Code"] == "ValidationError"


def test_a_body_over_the_quota_is_refused(sky: Sky) -> None:
    with pytest.raises(ClientError) as raised:
        sky.aws.client("sagemaker-runtime").invoke_endpoint(EndpointName="alone", Body=b"x" * 6_291_457)

    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_an_unsigned_call_is_refused(sky: Sky) -> None:
    connection = http.client.HTTPConnection(urlsplit(sky.aws.url).netloc)
    connection.request("POST", "/endpoints/alone/invocations", b"{}")

    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_containers_error_is_a_model_error_with_its_own_words(sky: Sky, status: int) -> None:
    refused = _refused(sky, body={"do": "fail", "status": status, "message": "too hot"})

    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert refused["Error"]["Code"] == "ModelError"
    assert refused["OriginalStatusCode"] == status
    assert json.loads(refused["OriginalMessage"]) == {"error": "too hot"}
    assert refused["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/alone")


@pytest.mark.parametrize("does", ["garbage", "die"])
def test_a_container_that_does_not_answer_properly_is_a_model_error_without_a_status(sky: Sky, does: str) -> None:
    refused = _refused(sky, body={"do": does})

    assert refused["Error"]["Code"] == "ModelError"
    assert refused["OriginalStatusCode"] == 0


def test_a_container_that_is_gone_is_a_model_error(sky: Sky) -> None:
    refused = _refused(sky, "parts", InferenceComponentName="dead")

    assert (refused["Error"]["Code"], refused["OriginalStatusCode"]) == ("ModelError", 0)


def test_a_stream_passes_through_as_it_is_made(sky: Sky) -> None:
    sky.alone.gate.release()
    answer = _stream(sky, {"do": "stream", "pieces": ["one", "two", "three"]}, CustomAttributes="tenant=t1")
    events = iter(answer["Body"])

    # The container is held at its gate before each further piece: what has come cannot have been buffered.
    assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
    sky.alone.gate.release()
    assert next(events) == {"PayloadPart": {"Bytes": b"two"}}
    sky.alone.gate.release()
    assert [event["PayloadPart"]["Bytes"] for event in events] == [b"three"]
    assert answer["ContentType"] == "text/event-stream"
    assert answer["CustomAttributes"] == "instance=stand-in"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_a_caller_that_leaves_a_stream_closes_the_connection_to_the_container(sky: Sky) -> None:
    sky.alone.gate.release()
    answer = _stream(sky, {"do": "stream", "pieces": ["one"], "then": "wait"})
    assert next(iter(answer["Body"]))

    answer["Body"].close()

    assert sky.alone.client_left.wait(PATIENCE_S)


def test_a_stream_that_breaks_ends_with_a_model_stream_error(sky: Sky) -> None:
    sky.alone.gate.release()
    events = iter(_stream(sky, {"do": "stream", "pieces": ["one"], "then": "die"})["Body"])

    assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
    with pytest.raises(EventStreamError) as raised:
        next(events)
    assert raised.value.response["Error"]["Code"] == "ModelStreamError"


def test_an_error_before_the_first_byte_of_a_stream_is_a_model_error(sky: Sky) -> None:
    with pytest.raises(ClientError) as raised:
        _stream(sky, {"do": "fail", "status": 503, "message": "full"})

    assert raised.value.response["Error"]["Code"] == "ModelError"
    assert raised.value.response["OriginalStatusCode"] == 503


def test_a_component_at_zero_refuses_a_stream_before_its_first_byte(sky: Sky) -> None:
    with pytest.raises(ClientError) as raised:
        _stream(sky, {}, EndpointName="parts", InferenceComponentName="asleep")

    assert raised.value.response["Error"]["Code"] == "ValidationError"
    assert "no capacity" in raised.value.response["Error"]["Message"]


def test_a_multi_model_endpoint_does_not_stream(sky: Sky) -> None:
    with pytest.raises(ClientError) as raised:
        _stream(sky, {}, EndpointName="many")

    assert raised.value.response["Error"]["Code"] == "ValidationError"
