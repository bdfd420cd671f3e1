"""LangChain, by its packages for OpenAI (chats and Responses) and for Anthropic."""

from functools import reduce
from operator import add
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

import program
from program import Ask, Said, serve


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return program.weather(city)


def model(ask: Ask) -> Any:
    asked: Any = {"model": ask.model, "api_key": ask.api_key, "max_tokens": ask.most_tokens, "max_retries": 0}
    if ask.door == "messages":
        return ChatAnthropic(**asked, base_url=ask.url)
    return ChatOpenAI(**asked, base_url=f"{ask.url}/v1", use_responses_api=ask.door == "responses", stream_usage=True)


def whole(ask: Ask) -> Said:
    answer = model(ask).invoke(ask.question)
    return {"text": answer.text, "tokens": tokens(answer)}


def streamed(ask: Ask) -> Said:
    chunks = list(model(ask).stream(ask.question))
    return {"pieces": [chunk.text for chunk in chunks if chunk.text], "tokens": tokens(reduce(add, chunks))}


def with_tools(ask: Ask) -> Said:
    return round_trip(ask, model(ask).bind_tools([weather]).invoke)


def with_tools_streamed(ask: Ask) -> Said:
    able = model(ask).bind_tools([weather])
    return round_trip(ask, lambda turns: reduce(add, able.stream(turns)))


def round_trip(ask: Ask, answer: Any) -> Said:
    question = HumanMessage(ask.question)
    first = answer([question])
    results = [weather.invoke(call) for call in first.tool_calls]
    return {"calls": [call["args"] for call in first.tool_calls], "text": answer([question, first, *results]).text}


def tokens(answer: Any) -> list[int]:
    return [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]


def error(raised: Any) -> Said:
    """As OpenAI's and Anthropic's own packages raise it."""
    code = raised.code if hasattr(raised, "code") else raised.type
    return {"status": raised.status_code, "code": code, "retry_after": raised.response.headers.get("Retry-After")}


if __name__ == "__main__":
    serve(whole, streamed, with_tools, with_tools_streamed, error=error)
