"""Anthropic's own package: Messages, and its runner of tools."""

from typing import Any

from anthropic import Anthropic, beta_tool

import program
from program import Ask, Said, serve


@beta_tool
def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name
    """
    return program.weather(city)


def client(ask: Ask) -> Any:
    return Anthropic(base_url=ask.url, api_key=ask.api_key, max_retries=0)


def asked(ask: Ask) -> Any:
    question = {"role": "user", "content": ask.question}
    return {"model": ask.model, "max_tokens": ask.most_tokens, "messages": [question]}


def whole(ask: Ask) -> Said:
    answer = client(ask).messages.create(**asked(ask))
    return {"text": answer.content[0].text, "tokens": tokens(answer)}


def streamed(ask: Ask) -> Said:
    with client(ask).messages.stream(**asked(ask)) as stream:
        pieces = list(stream.text_stream)
        return {"pieces": pieces, "tokens": tokens(stream.get_final_message())}


def with_tools(ask: Ask) -> Said:
    return round_trip(client(ask).beta.messages.tool_runner(**asked(ask), tools=[weather]))


def with_tools_streamed(ask: Ask) -> Said:
    streams = client(ask).beta.messages.tool_runner(**asked(ask), tools=[weather], stream=True)
    return round_trip(stream.get_final_message() for stream in streams)


def round_trip(answers: Any) -> Said:
    first, final = answers
    return {
        "calls": [block.input for block in first.content if block.type == "tool_use"],
        "text": final.content[0].text,
    }


def tokens(answer: Any) -> list[int]:
    return [answer.usage.input_tokens, answer.usage.output_tokens]


def error(raised: Any) -> Said:
    return {
        "status": raised.status_code,
        "code": raised.type,
        "retry_after": raised.response.headers.get("Retry-After"),
    }


if __name__ == "__main__":
    serve(whole, streamed, with_tools, with_tools_streamed, error=error)
