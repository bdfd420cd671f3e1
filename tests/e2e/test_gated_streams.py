"""Streams whose engine is held before each token: what has arrived, is in flight and is settled while nothing moves."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.e2e.admin import settled
from tests.patience import PATIENCE_S
from tests.two_gateways import TwoGateways

QUESTION: Any = [{"role": "user", "content": "What is Cloister?"}]
WORDS = 5  # that the scripted model says
EITHER_WAY = pytest.mark.parametrize("way", ["sagemaker", "direct"])
EITHER_SDK = pytest.mark.parametrize("sdk", ["openai", "anthropic"])


class Held:
    """A tenant whose one pool, of its own name, runs on the gated container."""

    def __init__(self, two_gateways: TwoGateways, name: str, way: str, in_flight: int = 4) -> None:
        self.two_gateways = two_gateways
        self.name = name
        self.key = two_gateways.offer(name, two_gateways.gated(way), in_flight)

    def openai(self) -> OpenAI:
        base = f"{self.two_gateways.base_url}/tenants/{self.name}/v1"
        return OpenAI(base_url=base, api_key=self.key, max_retries=0, timeout=PATIENCE_S)

    def streamed(self, sdk: str) -> tuple[Iterator[str], Any]:
        """The words of an answer, each as it arrives, and the SDK's stream, which can be closed."""
        asked: Any = {"model": self.name, "messages": QUESTION, "max_tokens": 100, "stream": True}
        if sdk == "openai":
            chunks: Any = self.openai().chat.completions.create(**asked)
            return (word for chunk in chunks if (word := chunk.choices[0].delta.content)), chunks
        base = f"{self.two_gateways.base_url}/tenants/{self.name}"
        client = Anthropic(base_url=base, api_key=self.key, max_retries=0, timeout=PATIENCE_S)
        events: Any = client.messages.create(**asked)
        return (event.delta.text for event in events if event.type == "content_block_delta"), events

    def settled(self, count: int) -> list[dict[str, Any]]:
        """Its ledger, newest first, once it has so many entries and nothing is in flight."""
        return settled(self.two_gateways, self.name, self.key, count)


@pytest.fixture
def gated(two_gateways: TwoGateways) -> Iterator[TwoGateways]:
    """The two gateways, with the gate of their container shut."""
    yield two_gateways
    two_gateways.container.gate.shut()


@EITHER_WAY
@EITHER_SDK
def test_each_token_arrives_while_later_ones_are_still_to_be_generated(gated: TwoGateways, sdk: str, way: str) -> None:
    held = Held(gated, f"first-{sdk}-{way}", way)
    gated.container.gate.let(1)
    words, _ = held.streamed(sdk)
    for number in range(WORDS):
        assert next(words) == f"w{number} ", "it is here, and the engine may not go on yet"
        gated.container.gate.let(1)
    assert list(words) == []
    assert held.settled(1)[0]["outcome"] == "completed"


@EITHER_WAY
@EITHER_SDK
def test_a_stream_that_its_client_drops_is_settled_with_what_was_generated(
    gated: TwoGateways, sdk: str, way: str
) -> None:
    held = Held(gated, f"drop-{sdk}-{way}", way)
    charged = {}
    for number, generated in enumerate((1, 4), 1):
        gated.container.gate.let(generated)
        words, stream = held.streamed(sdk)
        assert [next(words) for _ in range(generated)]
        stream.close()
        gated.container.await_rest()
        entry = held.settled(number)[0]
        assert (entry["outcome"], entry["reason"]) == ("failed", "client_left")
        assert entry["charged"] == entry["used"]
        charged[generated] = entry["charged"]["tokens"]
    assert charged[4] - charged[1] == 3
    assert charged[1] > 1, "the prompt is charged, too"


def test_the_cap_on_requests_in_flight_holds(gated: TwoGateways) -> None:
    held = Held(gated, "crowd", "direct", in_flight=1)
    gated.container.gate.let(1)
    words, stream = held.streamed("openai")
    assert next(words)
    chat = held.openai().chat.completions
    with pytest.raises(openai.RateLimitError) as refused:
        chat.create(model=held.name, messages=QUESTION, max_tokens=1)
    assert refused.value.code == "too_many_in_flight"
    stream.close()
    gated.container.await_rest()
    held.settled(1)
    gated.container.gate.let(WORDS)
    assert chat.create(model=held.name, messages=QUESTION, max_tokens=1).choices
