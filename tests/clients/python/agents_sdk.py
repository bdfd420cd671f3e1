"""OpenAI's Agents SDK, by Responses (its default) and by chats."""

import asyncio
import json
from typing import Any

import agents
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI

import program
from program import Ask, Said, serve

agents.set_tracing_disabled(True)  # it would tell OpenAI what was asked


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return program.weather(city)


def agent(ask: Ask, *tools: Any) -> Any:
    client = AsyncOpenAI(base_url=f"{ask.url}/v1", api_key=ask.api_key, max_retries=0)
    model = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}[ask.door]
    settings = ModelSettings(max_tokens=ask.most_tokens, include_usage=True, temperature=0)
    return Agent("A helper", model=model(ask.model, client), model_settings=settings, tools=list(tools))


def whole(ask: Ask) -> Said:
    result = Runner.run_sync(agent(ask), ask.question)
    return {"text": result.final_output, "tokens": tokens(result)}


def streamed(ask: Ask) -> Said:
    async def run() -> Said:
        result = Runner.run_streamed(agent(ask), ask.question)
        events = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        return {"pieces": pieces, "tokens": tokens(result)}

    return asyncio.run(run())


def with_tools(ask: Ask) -> Said:
    return told(Runner.run_sync(agent(ask, weather), ask.question))


def with_tools_streamed(ask: Ask) -> Said:
    async def run() -> Any:
        result = Runner.run_streamed(agent(ask, weather), ask.question)
        async for _ in result.stream_events():
            pass
        return result

    return told(asyncio.run(run()))


def told(result: Any) -> Said:
    calls = [item.raw_item.arguments for item in result.new_items if item.type == "tool_call_item"]
    return {"calls": [json.loads(call) for call in calls], "text": result.final_output}


def tokens(result: Any) -> list[int]:
    usage = result.context_wrapper.usage
    return [usage.input_tokens, usage.output_tokens]


def error(raised: Any) -> Said:
    """As OpenAI's own package raises it."""
    return {
        "status": raised.status_code,
        "code": raised.code,
        "retry_after": raised.response.headers.get("Retry-After"),
    }


if __name__ == "__main__":
    serve(whole, streamed, with_tools, with_tools_streamed, error=error)
