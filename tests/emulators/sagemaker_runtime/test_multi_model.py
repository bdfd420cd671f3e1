"""TargetModel: loaded on first use, and the least recently used one unloaded when memory is short."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulators.sagemaker_runtime.multi_model import name_in_container
from tests.emulators.conftest import Sky
from tests.patience import PATIENCE_S


def _ask(sky: Sky, target_model: str, body: dict[str, Any] | None = None) -> Any:
    client = sky.aws.client("sagemaker-runtime")
    answer = client.invoke_endpoint(EndpointName="many", TargetModel=target_model, Body=json.dumps(body or {}).encode())
    return json.loads(answer["Body"].read())


def _load(model: str) -> list[str]:
    return ["POST /models", f"POST /models/{name_in_container(model)}/invoke"]


def test_a_model_is_loaded_when_it_is_first_asked_for(empty_sky: Sky) -> None:
    assert _ask(empty_sky, "a")["path"] == f"/models/{name_in_container('a')}/invoke"
    _ask(empty_sky, "a")

    assert empty_sky.many.calls == [*_load("a"), f"POST /models/{name_in_container('a')}/invoke"]
    assert empty_sky.many.loaded == {name_in_container("a"): "/models/a"}


def test_the_least_recently_used_model_makes_room(empty_sky: Sky) -> None:
    _ask(empty_sky, "a")
    _ask(empty_sky, "b")
    _ask(empty_sky, "a")
    empty_sky.many.calls.clear()

    _ask(empty_sky, "c")

    assert empty_sky.many.calls == ["POST /models", f"DELETE /models/{name_in_container('b')}", *_load("c")]
    assert sorted(empty_sky.many.loaded.values()) == ["/models/a", "/models/c"]


def test_many_first_callers_load_it_once(empty_sky: Sky) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: _ask(empty_sky, "a"), range(8)))

    assert empty_sky.many.calls.count("POST /models") == 1


def test_a_model_that_the_container_lost_is_loaded_again(empty_sky: Sky) -> None:
    _ask(empty_sky, "a")
    empty_sky.many.loaded.clear()  # as a restart does

    _ask(empty_sky, "a")

    assert empty_sky.many.loaded


def test_a_model_in_use_is_never_unloaded(empty_sky: Sky) -> None:
    with ThreadPoolExecutor(2) as threads:
        held = [threads.submit(_ask, empty_sky, model, {"do": "hold"}) for model in "ab"]
        while sum("invoke" in call for call in empty_sky.many.calls) < 2:
            empty_sky.many.requests.get(timeout=PATIENCE_S)

        with pytest.raises(ClientError) as raised:
            _ask(empty_sky, "c")
        empty_sky.many.gate.release(2)
        assert all(each.result() for each in held)

    assert raised.value.response["Error"]["Code"] == "ModelError"
    assert raised.value.response["OriginalStatusCode"] == 507
    assert not [call for call in empty_sky.many.calls if call.startswith("DELETE")]
