"""Responses that are kept: gone on with, looked at, deleted; by their tenant alone, and for no longer than it says."""

from collections.abc import Iterable
from typing import Any

import msgspec
import openai
import pytest

from chalicelib import wiring
from chalicelib.api.kept_responses import MOST_TURNS
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.contents import Contents
from chalicelib.contents.data_keys import DataKeys
from chalicelib.contents.memory import MemoryKeys, MemoryPieces
from chalicelib.contents.pieces import Piece
from chalicelib.contents.store import DynamoPieces
from chalicelib.dialects.responses.answers import Answered
from chalicelib.dialects.responses.requests import as_chat
from chalicelib.engines.scripted import Step
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import EngineFailed, StoreUnavailable
from chalicelib.tenancy import Change
from tests.api.test_responses import HELLO, RESPONSES, calls_weather, sdk
from tests.engines.answers import Chat
from tests.engines.responses import says
from tests.small_deployments import T0, Chance, Deployment, Gateway
from tests.stores import reach_tables

DAY_MS = 86_400_000
KEPT = {**HELLO, "store": True}


def pieces(deployment: Deployment) -> list[Any]:
    """Every piece of everybody's."""
    return [*deployment.store.pieces._held.values()]  # type: ignore[union-attr]


class House(Deployment):
    """A deployment whose model says how many messages it was shown."""

    def __init__(self) -> None:
        super().__init__(script=self._script)
        self.shown: list[Any] = []
        for name in ("model-a", "model-b"):
            self.tenancy.put_pool(Pool(name, (Scripted(name, url=name),), max_tokens=64))
        for tenant in ("acme", "bolt"):
            self.tenant(tenant, pools=("model-a", "model-b"), retention_days=2)

    def _script(self, _: Target, call: Call) -> Iterable[Step]:
        self.shown.append(msgspec.json.decode(as_chat(call).fields["messages"]))
        return self.answer(call)

    def answer(self, call: Call) -> Iterable[Step]:
        return says(f"answer {len(self.shown)}", call)

    def stored(self) -> list[Any]:
        return pieces(self)

    def outcomes(self) -> list[tuple[str, int]]:
        entries = self.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
        return [(entry.outcome, entry.charged.tokens) for entry in entries]


class Full(MemoryPieces):
    """Lets ids be claimed, and can write nothing more."""

    def put(self, piece: Piece) -> None:
        raise StoreUnavailable(piece.name)


@pytest.fixture
def house() -> Any:
    house = House()
    with wiring.opening_into(house.rooms()):
        yield house


def responses(gateway: Gateway, house: House, tenant: str = "acme", **scopes: Any) -> Any:
    client = sdk(gateway, house.key(tenant, **scopes))
    client.base_url = str(client.base_url).replace("/acme/", f"/{tenant}/")
    return client.responses


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_response_is_read_as_it_was_answered(gateway: Gateway, house: House, stream: bool) -> None:
    api = responses(gateway, house)
    answered = [*api.create(**KEPT, stream=True)][-1].response if stream else api.create(**KEPT)
    found = api.retrieve(answered.id)
    assert found.to_dict() == answered.to_dict()
    assert (found.output_text, found.store) == ("answer 1", True)


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_goes_on_by_the_last_responses_name(gateway: Gateway, house: House, stream: bool) -> None:
    api = responses(gateway, house)
    first = api.create(**{**KEPT, "input": "one", "instructions": "Be brief."})
    second = api.create(**{**KEPT, "input": "two"}, previous_response_id=first.id)
    third = api.create(**{**HELLO, "input": "three"}, previous_response_id=second.id, stream=stream)
    if stream:
        third = [*third][-1].response
    assert [(turn["role"], turn["content"]) for turn in house.shown[-1]] == [
        ("user", "one"),
        ("assistant", "answer 1"),
        ("user", "two"),
        ("assistant", "answer 2"),
        ("user", "three"),
    ]
    assert (third.previous_response_id, third.store) == (second.id, False)
    assert len({piece.content for piece in house.stored()}) == 2


def test_a_call_of_a_tool_is_gone_on_with_by_its_output_alone(gateway: Gateway, house: House) -> None:
    house.answer = calls_weather  # type: ignore[method-assign]
    api = responses(gateway, house)
    first = api.create(**KEPT)
    (call,) = first.output
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    api.create(**{**KEPT, "input": [output]}, previous_response_id=first.id)
    reference = {"type": "item_reference", "id": call.id}
    api.create(**{**KEPT, "input": [{"role": "user", "content": "hi"}, reference, output]})
    for shown in house.shown[1:]:
        assert [turn["role"] for turn in shown] == ["user", "assistant", "tool"]
        assert shown[1]["tool_calls"][0]["id"] == shown[2]["tool_call_id"] == "c1"


def test_thoughts_texts_and_calls_are_referred_to_alike(gateway: Gateway, house: House) -> None:
    """As the AI SDK does; which of them, depends on its version."""
    function = {"name": "Weather", "arguments": "{}"}
    said = {
        "reasoning_content": "Hm.",
        "content": "Let me look.",
        "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}],
    }
    chunk = Delta(msgspec.json.encode({"choices": [{"message": said, "finish_reason": "tool_calls"}]}), 1)
    house.answer = lambda call: list(Answered(Chat((Started("i"), chunk, Finished(Usage(3, 4)))), call))  # type: ignore[method-assign]
    api = responses(gateway, house)
    first = api.create(**KEPT)
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    references = [{"type": "item_reference", "id": item.id} for item in first.output]
    output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
    api.create(**{**HELLO, "input": [{"role": "user", "content": "hi"}, *references, output]})
    user, turn, tool = house.shown[-1]
    assert (turn["reasoning_content"], turn["content"], turn["tool_calls"][0]["id"]) == ("Hm.", "Let me look.", "c1")
    assert (user["content"], tool["content"]) == ("hi", "rain")


@pytest.mark.parametrize("keeps", [True, False])
def test_who_refers_to_what_was_not_kept_is_told_the_ways_out(gateway: Gateway, house: House, keeps: bool) -> None:
    if not keeps:
        house.contents = None
    api = responses(gateway, house)
    item = api.create(**HELLO).output[0].id
    with pytest.raises(openai.BadRequestError) as refused:
        api.create(**{**HELLO, "input": [{"type": "item_reference", "id": item}, {"role": "user", "content": "?"}]})
    assert refused.value.param == "input[0].id"
    assert "`providerOptions: { openai: { store: false } }`" in refused.value.message
    assert ("`store: true`" in refused.value.message) == keeps  # no way out that would be refused as well
    assert len(house.shown) == 1


def test_a_reference_is_kept_as_what_it_stands_for(gateway: Gateway, house: House) -> None:
    api = responses(gateway, house)
    first = api.create(**KEPT)
    turns = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "and?"}]
    second = api.create(**{**KEPT, "input": turns})
    api.delete(first.id)
    assert api.input_items.list(second.id, order="asc").data[0].content[0].text == "answer 1"


def test_what_is_not_asked_to_be_kept_is_not(gateway: Gateway, house: House) -> None:
    api = responses(gateway, house)
    for store in (None, False):
        response = api.create(**HELLO, store=store)
        assert response.store is False
        with pytest.raises(openai.NotFoundError):
            api.retrieve(response.id)
    assert house.stored() == []


def test_a_deleted_response_is_gone_to_the_last_piece(gateway: Gateway, house: House) -> None:
    api = responses(gateway, house)
    first = api.create(**KEPT)
    other = api.create(**KEPT)
    api.delete(first.id)
    assert {piece.content for piece in house.stored()} == {other.id}
    for ask in (api.retrieve, api.delete, api.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(first.id)
    with pytest.raises(openai.NotFoundError) as refused:
        api.create(**HELLO, previous_response_id=first.id)
    assert refused.value.param == "previous_response_id"
    assert api.retrieve(other.id).id == other.id


def test_another_tenant_has_no_part_in_it(gateway: Gateway, house: House) -> None:
    kept = responses(gateway, house).create(**KEPT)
    theirs = responses(gateway, house, "bolt")
    for ask in (theirs.retrieve, theirs.delete, theirs.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(kept.id)
    with pytest.raises(openai.NotFoundError):
        theirs.create(**HELLO, previous_response_id=kept.id)
    with pytest.raises(openai.BadRequestError):
        reference = {"type": "item_reference", "id": kept.output[0].id}
        theirs.create(**{**HELLO, "input": [reference, {"role": "user", "content": "?"}]})
    assert len(house.shown) == 1
    assert responses(gateway, house).retrieve(kept.id).id == kept.id


def test_a_key_sees_what_its_models_answered(gateway: Gateway, house: House) -> None:
    kept = responses(gateway, house).create(**KEPT)
    narrow = responses(gateway, house, pools=("model-b",))
    for ask in (narrow.retrieve, narrow.delete, narrow.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(kept.id)
    with pytest.raises(openai.NotFoundError):
        narrow.create(**{**HELLO, "model": "model-b"}, previous_response_id=kept.id)


def test_a_model_that_answered_by_an_alias_is_still_the_keys(gateway: Gateway, house: House) -> None:
    house.tenancy.change_tenant("acme", Change(aliases={"gpt-4o": "model-a"}))
    narrow = responses(gateway, house, pools=("model-a",))
    kept = narrow.create(**{**KEPT, "model": "gpt-4o"})
    assert (kept.model, narrow.retrieve(kept.id).model) == ("gpt-4o", "gpt-4o")


def test_a_revoked_key_learns_nothing_of_what_was_kept(gateway: Gateway, house: House) -> None:
    kept = responses(gateway, house).create(**KEPT)
    key, token = house.tenancy.create_key("acme", "owner")
    client = sdk(gateway, token.text).responses
    client.create(**HELLO)
    house.tenancy.revoke_key("acme", key.id)
    for name in (kept.id, "resp_none"):
        with pytest.raises(openai.AuthenticationError):
            client.create(**HELLO, previous_response_id=name)


def test_it_is_kept_for_as_long_as_the_tenants_ledger(gateway: Gateway, house: House) -> None:
    kept = responses(gateway, house).create(**KEPT)
    assert {piece.expires_s for piece in house.stored()} == {(T0 + 2 * DAY_MS) // 1_000}
    house.clock.now_ms = T0 + 2 * DAY_MS
    with pytest.raises(openai.NotFoundError):
        responses(gateway, house).retrieve(kept.id)


def test_nothing_of_it_is_in_the_store_in_the_clear(gateway: Gateway, house: House) -> None:
    canary = "a canary that nobody may hear"
    responses(gateway, house).create(**{**KEPT, "input": canary, "metadata": {"a": canary}})
    assert not any(canary.encode() in piece.data or b"answer 1" in piece.data for piece in house.stored())


def test_an_id_that_was_kept_is_not_written_over(gateway: Gateway, house: House) -> None:
    api = responses(gateway, house)
    again = {"extra_headers": {"X-Request-ID": "mine"}}
    kept = api.create(**KEPT, **again)
    for stream in (False, True):
        with pytest.raises(openai.ConflictError):
            api.create(**{**KEPT, "input": "other"}, **again, stream=stream)
    assert api.input_items.list(kept.id).data[0].content[0].text == "hi"
    assert sorted(house.outcomes()) == [("completed", 3)]
    assert len(house.shown) == 1  # no model works for nothing, and for nobody's money


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_broke_is_not_kept(gateway: Gateway, house: House, stream: bool) -> None:
    house.answer = lambda call: [*says("hello to you", call)[: 6 if call.stream else 1], EngineFailed("It broke.")]  # type: ignore[method-assign]
    with pytest.raises(openai.APIError):
        [*responses(gateway, house).create(**KEPT, stream=stream)]
    assert house.stored() == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_kept_is_refused_and_not_charged(gateway: Gateway, stream: bool) -> None:
    house = House()
    keys = DataKeys(house.store.documents, MemoryKeys(Chance()), house.clock)
    down = DynamoPieces(reach_tables("http://127.0.0.1:9", "none", 100))
    house.contents = Contents(down, keys, house.clock, Chance())
    with wiring.opening_into(house.rooms()), pytest.raises(openai.InternalServerError):
        responses(gateway, house).create(**KEPT, stream=stream)
    assert house.outcomes() == [("failed", 0)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_store_that_goes_down_meanwhile_costs_the_answer_but_no_money(
    gateway: Gateway, house: House, stream: bool
) -> None:
    keys = DataKeys(house.store.documents, MemoryKeys(Chance()), house.clock)
    house.contents = Contents(Full(), keys, house.clock, Chance())
    with pytest.raises(openai.APIError):
        [*responses(gateway, house).create(**KEPT, stream=stream)]
    assert house.outcomes() == [("failed", 0)]


def test_a_deployment_that_keeps_nothing_says_so(gateway: Gateway, house: House) -> None:
    house.contents = None
    api = responses(gateway, house)
    with pytest.raises(openai.BadRequestError) as refused:
        api.create(**KEPT)
    assert refused.value.param == "store"
    assert api.create(**HELLO).output_text == "answer 1"
    with pytest.raises(openai.NotFoundError):
        api.create(**HELLO, previous_response_id="resp_1")
    with pytest.raises(openai.NotFoundError):
        api.retrieve("resp_1")


def test_a_conversation_without_end_is_refused(gateway: Gateway, house: House) -> None:
    assert house.contents is not None
    for number in range(MOST_TURNS + 1):
        before = {"previous_response_id": f"resp_{number - 1}"} if number else {}
        response = {"id": f"resp_{number}", "output": [], **before}
        fields = {"about": b'{"pool":"model-a"}', "asked": b"[]", "response": msgspec.json.encode(response)}
        house.contents.keep("acme", f"resp_{number}", fields, T0 + DAY_MS)
    api = responses(gateway, house)
    assert api.create(**HELLO, previous_response_id=f"resp_{MOST_TURNS - 1}").output_text
    with pytest.raises(openai.APIStatusError) as refused:
        api.create(**HELLO, previous_response_id=f"resp_{MOST_TURNS}")
    assert refused.value.status_code == 413


def test_who_refers_to_items_of_too_many_responses_is_refused(gateway: Gateway, house: House) -> None:
    turns = [{"type": "item_reference", "id": f"msg_{number}_0"} for number in range(MOST_TURNS + 1)]
    with pytest.raises(openai.APIStatusError) as refused:
        responses(gateway, house).create(**{**HELLO, "input": turns})
    assert refused.value.status_code == 413


def test_a_conversation_that_goes_round_in_circles_is_refused(gateway: Gateway, house: House) -> None:
    assert house.contents is not None
    response = b'{"id":"resp_1","output":[],"previous_response_id":"resp_1"}'
    fields = {"about": b'{"pool":"model-a"}', "asked": b"[]", "response": response}
    house.contents.keep("acme", "resp_1", fields, T0 + DAY_MS)
    with pytest.raises(openai.APIStatusError) as refused:
        responses(gateway, house).create(**HELLO, previous_response_id="resp_1")
    assert refused.value.status_code == 413


def test_what_was_asked_is_listed_in_pages(gateway: Gateway, house: House) -> None:
    api = responses(gateway, house)
    turns = [{"role": "user", "content": f"{number}"} for number in range(5)]
    kept = api.create(**{**KEPT, "input": turns})
    assert [item.content for item in api.input_items.list(kept.id, order="asc", limit=2)] == ["0", "1", "2", "3", "4"]
    page = api.input_items.list(kept.id, limit=3)
    assert [item.content for item in page.data] == ["4", "3", "2"]
    assert page.has_more
    for query in ("limit=0", "limit=101", "order=up"):
        path = f"{RESPONSES}/{kept.id}/input_items?{query}"
        assert gateway.call("GET", path, key=house.key()).status == 400


def test_a_response_that_is_over_is_not_streamed_again(gateway: Gateway, house: House) -> None:
    api = responses(gateway, house)
    kept = api.create(**KEPT)
    with pytest.raises(openai.BadRequestError):
        api.retrieve(kept.id, stream=True)
