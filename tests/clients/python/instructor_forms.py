"""instructor: answers in the form of a Pydantic model, by a tool or by a JSON schema."""

from typing import Any

import instructor
from openai import OpenAI
from pydantic import BaseModel

from program import Ask, Said, serve


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    rains: bool


MODES = {"tools": instructor.Mode.TOOLS, "schema": instructor.Mode.JSON_SCHEMA}


def client(ask: Ask) -> Any:
    return instructor.from_openai(
        OpenAI(base_url=f"{ask.url}/v1", api_key=ask.api_key, max_retries=0), mode=MODES[ask.door]
    )


def asked(ask: Ask) -> Any:
    question = {"role": "user", "content": ask.question}
    return {
        "model": ask.model,
        "messages": [question],
        "max_tokens": ask.most_tokens,
        "response_model": Weather,
        "max_retries": 0,
    }


def whole(ask: Ask) -> Said:
    return {"form": client(ask).create(**asked(ask)).model_dump()}


def streamed(ask: Ask) -> Said:
    forms = [form.model_dump() for form in client(ask).create_partial(**asked(ask))]
    return {"form": forms[-1]}


def error(raised: Any) -> Said:
    """instructor's exception, and OpenAI's own that it was raised from."""
    cause = raised.__cause__
    return {"status": cause.status_code, "code": cause.code, "retry_after": cause.response.headers.get("Retry-After")}


if __name__ == "__main__":
    serve(whole, streamed, error=error)
