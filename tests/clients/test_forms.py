"""instructor, whose answers are values of a class: asked for by a tool, or by a JSON schema."""

import json

import pytest

from tests.clients.clients import FORMS, Errors, Program
from tests.clients.conftest import Place
from tests.clients.weather_model import KNOWN

each_client = pytest.mark.parametrize("client", FORMS, ids=lambda client: client.name, indirect=True)
each_way = pytest.mark.parametrize("how", ["whole", "streamed"])


@each_client
@each_way
@pytest.mark.parametrize("pool", ["clients-weather", "claude", "nova"])
def test_an_answer_is_a_value_of_a_class(client: Program, place: Place, pool: str, how: str) -> None:
    tool = {"whole": "Weather", "streamed": "PartialWeather"}[how]
    by_tool = client.client.door == "tools"
    place.bedrock_says([{"tool": tool, "input": KNOWN} if by_tool else {"text": json.dumps(KNOWN)}])
    assert client.ask(how, *place.asking, pool, "How is the weather in Bern?") == {"form": KNOWN}


@each_client
@each_way
@pytest.mark.parametrize("kind", Errors._fields)
def test_errors_are_instructors_own_from_openais(client: Program, place: Place, kind: str, how: str) -> None:
    error = client.ask(how, *place.refused(kind))["error"]
    assert (error["type"], error["status"], error["code"]) == getattr(client.client.errors, kind), error
    if kind == "rate_reached":
        assert 0 < int(error["retry_after"]) <= 3_600
