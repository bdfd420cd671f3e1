"""OpenAI's own package, by Responses."""

import json
from typing import Any

from openai import OpenAI

from program import Ask, Said, serve, weather

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def responses(ask: Ask) -> Any:
    return OpenAI(base_url=f"{ask.url}/v1", api_key=ask.api_key, max_retries=0).responses


def whole(ask: Ask) -> Said:
    answer = responses(ask).create(model=ask.model, input=ask.question, max_output_tokens=ask.most_tokens)
    return {"text": answer.output_text, "tokens": tokens(answer)}


def streamed(ask: Ask) -> Said:
    asked = responses(ask)
    with asked.stream(model=ask.model, input=ask.question, max_output_tokens=ask.most_tokens, temperature=0) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        return {"pieces": pieces, "tokens": tokens(stream.get_final_response())}


def with_tools(ask: Ask) -> Said:
    def answer(turns: list[Any]) -> Any:
        return responses(ask).create(model=ask.model, input=turns, tools=[TOOL])

    return round_trip(ask, answer)


def with_tools_streamed(ask: Ask) -> Said:
    def answer(turns: list[Any]) -> Any:
        with responses(ask).stream(model=ask.model, input=turns, tools=[TOOL]) as stream:
            return stream.get_final_response()

    return round_trip(ask, answer)


def round_trip(ask: Ask, answer: Any) -> Said:
    turns: list[Any] = [{"role": "user", "content": ask.question}]
    first = answer(turns)
    turns += [item.to_dict() for item in first.output]
    calls = {item.call_id: json.loads(item.arguments) for item in first.output if item.type == "function_call"}
    turns += [
        {"type": "function_call_output", "call_id": id_, "output": weather(**given)} for id_, given in calls.items()
    ]
    return {"calls": list(calls.values()), "text": answer(turns).output_text}


def tokens(answer: Any) -> list[int]:
    return [answer.usage.input_tokens, answer.usage.output_tokens]


def error(raised: Any) -> Said:
    return {
        "status": raised.status_code,
        "code": raised.code,
        "retry_after": raised.response.headers.get("Retry-After"),
    }


if __name__ == "__main__":
    serve(whole, streamed, with_tools, with_tools_streamed, error=error)
