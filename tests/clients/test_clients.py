"""The packages that people have, as they are, against the whole running system."""

import json

import pytest

from tests.clients.clients import AI_SDK_BY_DEFAULT, CLIENTS, FORMS, Errors
from tests.clients.conftest import Place
from tests.clients.programs import MOST_TOKENS, Asking
from tests.clients.weather_model import KNOWN, LOOKING

CITIES = [{"city": "Bern"}, {"city": "Basel"}]
WEATHER = "Bern: rain, Basel: sun"

each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name, indirect=True)
by_default = pytest.mark.parametrize("client", [AI_SDK_BY_DEFAULT], ids=lambda client: client.name, indirect=True)
each_former = pytest.mark.parametrize("client", FORMS, ids=lambda client: client.name, indirect=True)


@each_client
@pytest.mark.parametrize("pool", ["demo", "claude", "nova"])
def test_a_question_is_answered_and_streamed(client: Asking, place: Place, pool: str) -> None:
    place.bedrock_says()
    whole = client("whole", *place.asking, pool)
    streamed = client("streamed", *place.asking, pool)
    assert {"text", "tokens"} == whole.keys(), whole
    assert {"pieces", "tokens"} == streamed.keys(), streamed
    assert len(streamed["pieces"]) > 4
    assert streamed["tokens"][0] == whole["tokens"][0] > 0
    if pool == "demo":  # which says something else each time
        assert 0 < streamed["tokens"][1] <= MOST_TOKENS
    else:
        assert "".join(streamed["pieces"]) == whole["text"]
        assert streamed["tokens"] == whole["tokens"]


@each_client
@pytest.mark.parametrize("pool", ["clients-weather", "claude", "nova"])
@pytest.mark.parametrize("how", ["with_tools", "with_tools_streamed"])
def test_tools_are_called_and_their_results_are_told(client: Asking, place: Place, pool: str, how: str) -> None:
    tools = [{"tool": "weather", "input": city} for city in CITIES]
    place.bedrock_says([{"text": LOOKING}, *tools], [{"text": WEATHER}])
    said = client(how, *place.asking, pool, "How is the weather in Bern and in Basel?")
    assert "calls" in said, said
    calls = [json.loads(call) if isinstance(call, str) else call for call in said["calls"]]
    assert (calls, said["text"]) == (CITIES, WEATHER)


@by_default
@pytest.mark.parametrize("how", ["with_tools", "with_tools_streamed"])
def test_who_refers_to_what_nobody_kept_is_told_what_to_set(client: Asking, place: Place, how: str) -> None:
    error = client(how, *place.asking, "clients-weather", "How is the weather in Bern and in Basel?")["error"]
    assert (error["type"], error["status"], error["code"]) == ("AI_APICallError", 400, "invalid_request"), error
    assert "`providerOptions: { openai: { store: false } }`" in error["text"]
    assert "`store: true` with every request" in error["text"]


@by_default
@pytest.mark.parametrize("how", ["with_tools", "with_tools_streamed"])
def test_who_has_nothing_to_refer_to_need_not_set_it(client: Asking, place: Place, how: str) -> None:
    """A model that calls without a word: calls are always sent themselves."""
    place.bedrock_says([{"tool": "weather", "input": city} for city in CITIES], [{"text": WEATHER}])
    said = client(how, *place.asking, "claude", "How is the weather in Bern and in Basel?")
    assert (said.get("calls"), said.get("text")) == (CITIES, WEATHER), said


@each_former
@pytest.mark.parametrize("how", ["whole", "streamed"])
@pytest.mark.parametrize("pool", ["clients-weather", "claude", "nova"])
def test_an_answer_is_a_value_of_a_class(client: Asking, place: Place, pool: str, how: str) -> None:
    tool = {"whole": "Weather", "streamed": "PartialWeather"}[how]
    by_tool = client.door == "tools"
    place.bedrock_says([{"tool": tool, "input": KNOWN} if by_tool else {"text": json.dumps(KNOWN)}])
    assert client(how, *place.asking, pool, "How is the weather in Bern?") == {"form": KNOWN}


@pytest.mark.parametrize("client", [*CLIENTS, *FORMS], ids=lambda client: client.name, indirect=True)
@pytest.mark.parametrize("kind", Errors._fields)
@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_errors_are_the_packages_own(client: Asking, place: Place, kind: str, how: str) -> None:
    error = client(how, *place.refused(kind))["error"]
    assert (error["type"], error["status"], error["code"]) == getattr(client.errors, kind), error
    if kind == "rate_reached":
        assert 0 < int(error["retry_after"]) <= 3_600
