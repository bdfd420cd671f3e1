"""What is reserved is all that an engine may generate, whichever way a caller asks for more."""

from collections.abc import Iterable, Iterator

import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.scripted import Step, whole
from chalicelib.pool import Target
from tests.small_deployments import Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 7}


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def key(calls: list[Call]) -> Iterator[str]:
    def note(_target: Target, call: Call) -> Iterable[Step]:
        calls.append(call)
        return whole("fine")

    deployment = Deployment(script=note)
    deployment.pool()
    deployment.tenant()
    with wiring.opening_into(deployment.rooms()):
        yield deployment.key()


@pytest.mark.parametrize("member", ["n", "best_of"])
def test_every_choice_of_a_chat_is_reserved(gateway: Gateway, key: str, calls: list[Call], member: str) -> None:
    assert gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key, json={**CHAT, member: 3}).status == 200
    assert calls[0].choices == 3


@pytest.mark.parametrize("member", ["n", "best_of"])
def test_a_native_answer_has_one_text_and_no_more_is_generated(
    gateway: Gateway, key: str, calls: list[Call], member: str
) -> None:
    answer = gateway.call("POST", "/inference", key=key, json={**CHAT, member: 2})
    assert (answer.status, answer.json["field"]) == (400, member)
    assert calls == []
