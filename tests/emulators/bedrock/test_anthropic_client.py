"""Anthropic's own client of Bedrock, unmodified."""

import pytest
from anthropic import AnthropicBedrock, BadRequestError, RateLimitError
from anthropic.types import MessageParam

from tests.emulators.bedrock.served import HAIKU, SONNET, Served

TURNS: list[MessageParam] = [{"role": "user", "content": "one two three"}]


def signing(bedrock: Served) -> AnthropicBedrock:
    return AnthropicBedrock(
        aws_access_key=bedrock.access_key_id,
        aws_secret_key=bedrock.secret_access_key,
        aws_region="us-east-1",
        base_url=bedrock.url,
        max_retries=0,
    )


def with_api_key(bedrock: Served) -> AnthropicBedrock:
    return AnthropicBedrock(api_key=bedrock.bearer, aws_region="us-east-1", base_url=bedrock.url, max_retries=0)


def test_it_is_answered_whether_it_signs_or_has_an_api_key(bedrock: Served) -> None:
    for client in (signing(bedrock), with_api_key(bedrock)):
        message = client.messages.create(model=f"us.{SONNET}", max_tokens=20, messages=TURNS)

        assert message.content[0].to_dict() == {"type": "text", "text": "one two three"}
        assert (message.model, message.usage.output_tokens) == ("claude-sonnet-4-20250514", 3)


def test_it_streams(bedrock: Served) -> None:
    with signing(bedrock).messages.stream(model=HAIKU, max_tokens=2, messages=TURNS) as stream:
        assert list(stream.text_stream) == ["one", " two"]
        assert stream.get_final_message().stop_reason == "max_tokens"


def test_it_knows_refusals_for_what_they_are(bedrock: Served) -> None:
    client = with_api_key(bedrock)
    with pytest.raises(BadRequestError, match="on-demand throughput isn’t supported"):
        client.messages.create(model=SONNET, max_tokens=20, messages=TURNS)

    bedrock.command("fail", error="ThrottlingException")
    with pytest.raises(RateLimitError, match="Too many requests"):
        client.messages.create(model=HAIKU, max_tokens=20, messages=TURNS)
