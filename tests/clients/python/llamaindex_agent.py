"""LlamaIndex, by its class for services that are like OpenAI, and its agent."""

import asyncio
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent, ToolCall
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

import program
from program import Ask, Said, serve


def weather(city: str) -> str:
    """The weather of a city."""
    return program.weather(city)


def model(ask: Ask) -> Any:
    return OpenAILike(
        model=ask.model,
        api_base=f"{ask.url}/v1",
        api_key=ask.api_key,
        max_tokens=ask.most_tokens,
        max_retries=0,
        is_chat_model=True,
        is_function_calling_model=True,
    )


def whole(ask: Ask) -> Said:
    answer = model(ask).chat([ChatMessage(ask.question)])
    return {"text": answer.message.content, "tokens": tokens(answer)}


def streamed(ask: Ask) -> Said:
    chunks = list(model(ask).stream_chat([ChatMessage(ask.question)], stream_options={"include_usage": True}))
    return {"pieces": [chunk.delta for chunk in chunks if chunk.delta], "tokens": tokens(chunks[-1])}


def with_tools(ask: Ask) -> Said:
    return asyncio.run(round_trip(ask, streaming=False))


def with_tools_streamed(ask: Ask) -> Said:
    return asyncio.run(round_trip(ask, streaming=True))


async def round_trip(ask: Ask, streaming: bool) -> Said:
    running = FunctionAgent(tools=[weather], llm=model(ask), streaming=streaming).run(ask.question)
    calls = [event.tool_kwargs async for event in running.stream_events() if type(event) is ToolCall]
    return {"calls": calls, "text": str(await running)}


def tokens(answer: Any) -> list[int]:
    return [answer.raw.usage.prompt_tokens, answer.raw.usage.completion_tokens]


def error(raised: Any) -> Said:
    """As OpenAI's own package raises it."""
    return {
        "status": raised.status_code,
        "code": raised.code,
        "retry_after": raised.response.headers.get("Retry-After"),
    }


if __name__ == "__main__":
    serve(whole, streamed, with_tools, with_tools_streamed, error=error)
