"""OpenAI's own package, by chat completions."""

import json
from typing import Any

from openai import OpenAI

from program import Ask, Said, serve, weather

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,  # the package's own streams take no other
    },
}


def completions(ask: Ask) -> Any:
    return OpenAI(base_url=f"{ask.url}/v1", api_key=ask.api_key, max_retries=0).chat.completions


def whole(ask: Ask) -> Said:
    answer = completions(ask).create(
        model=ask.model, max_completion_tokens=ask.most_tokens, messages=[{"role": "user", "content": ask.question}]
    )
    return {"text": answer.choices[0].message.content, "tokens": tokens(answer)}


def streamed(ask: Ask) -> Said:
    chunks = list(
        completions(ask).create(
            model=ask.model,
            max_completion_tokens=ask.most_tokens,
            messages=[{"role": "user", "content": ask.question}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    return {"pieces": pieces, "tokens": tokens(chunks[-1])}


def with_tools(ask: Ask) -> Said:
    def answer(messages: list[Any]) -> Any:
        return completions(ask).create(model=ask.model, messages=messages, tools=[TOOL]).choices[0].message

    return round_trip(ask, answer)


def with_tools_streamed(ask: Ask) -> Said:
    def answer(messages: list[Any]) -> Any:
        with completions(ask).stream(model=ask.model, messages=messages, tools=[TOOL]) as stream:
            return stream.get_final_completion().choices[0].message

    return round_trip(ask, answer)


def round_trip(ask: Ask, answer: Any) -> Said:
    question = {"role": "user", "content": ask.question}
    message = answer([question])
    calls = {call.id: json.loads(call.function.arguments) for call in message.tool_calls}
    results = [{"role": "tool", "tool_call_id": id_, "content": weather(**given)} for id_, given in calls.items()]
    return {"calls": list(calls.values()), "text": answer([question, message, *results]).content}


def tokens(answer: Any) -> list[int]:
    return [answer.usage.prompt_tokens, answer.usage.completion_tokens]


def error(raised: Any) -> Said:
    return {
        "status": raised.status_code,
        "code": raised.code,
        "retry_after": raised.response.headers.get("Retry-After"),
    }


if __name__ == "__main__":
    serve(whole, streamed, with_tools, with_tools_streamed, error=error)
