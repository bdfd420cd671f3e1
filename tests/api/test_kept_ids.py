"""The ids of Responses that are kept: who has one, who gives it up, and how much may be referred to by them."""

import threading
from typing import Any

import msgspec
import openai
import pytest

from chalicelib.contents import Contents
from chalicelib.contents.data_keys import DataKeys
from chalicelib.contents.memory import MemoryKeys, MemoryPieces
from chalicelib.contents.pieces import Piece
from chalicelib.http.silence import COMMENT, Gaps
from tests.api.test_kept_responses import DAY_MS, KEPT, House, pieces, responses
from tests.api.test_kept_responses import house as house
from tests.api.test_leaving import Client, Front, eventually, play
from tests.api.test_responses import HELLO, RESPONSES
from tests.engines.responses import asked, says
from tests.small_deployments import T0, Chance, Gateway


class Late(MemoryPieces):
    """Another request is always a moment earlier."""

    def claim(self, head: Piece, now_s: int) -> None:
        super().claim(head, now_s)
        super().claim(head, now_s)


@pytest.mark.parametrize("stream", [False, True])
def test_of_two_that_come_at_once_with_one_id_one_is_kept(gateway: Gateway, house: House, stream: bool) -> None:
    api = responses(gateway, house)
    house.contents = Contents(
        Late(), DataKeys(house.store.documents, MemoryKeys(Chance()), house.clock), house.clock, Chance()
    )
    with pytest.raises(openai.ConflictError):
        api.create(**KEPT, stream=stream)
    assert house.outcomes() == [("failed", 0)]


@pytest.mark.parametrize(("times", "status"), [(1, 200), (21, 413)])
def test_a_long_answer_is_not_referred_to_without_end(gateway: Gateway, house: House, times: int, status: int) -> None:
    """A request of megabytes, each of whose references stands for megabytes, would be more than any memory."""
    assert house.contents is not None
    part = {"type": "output_text", "text": "x" * 300_000}
    item = {"id": "msg_1_0", "type": "message", "role": "assistant", "content": [part]}
    response = msgspec.json.encode({"id": "resp_1", "output": [item]})
    fields = {"about": b'{"pool":"model-a"}', "asked": b"[]", "response": response}
    house.contents.keep("acme", "resp_1", fields, T0 + DAY_MS)
    turns = [{"type": "item_reference", "id": "msg_1_0"}] * times
    body = {**HELLO, "input": [*turns, {"role": "user", "content": "?"}]}
    answer = gateway.call("POST", RESPONSES, key=house.key(), json=body)
    assert answer.status == status
    assert (b"refer to fewer" in answer.body) == (status == 413)
    assert len(house.shown) == (status == 200)


@pytest.mark.parametrize("begun", [True, False])
def test_who_leaves_before_the_end_may_ask_again_by_the_same_id(begun: bool) -> None:
    """A client whose connection was cut sends its request once more, with the id that it has given it."""
    gate = threading.Event()
    said = says("one two", asked(stream=True))
    leaving = Front(*said[:3], gate, *said[3:]) if begun else Front(gate, *said, gaps=Gaps(0.001, 0.001))
    leaving.scripts.append((*said,))
    request: Any = {"path": RESPONSES, "body": KEPT, "headers": {"x-request-id": "mine"}}

    async def scene() -> None:
        cut = Client(leaving, **request)
        await cut.until(lambda: (b"response.created" if begun else COMMENT) in cut.body)
        cut.leave()
        await cut.exchange
        gate.set()
        await eventually(lambda: leaving.at_rest and not pieces(leaving.deployment))
        again = Client(leaving, **request)
        await again.exchange
        assert (again.status, b"response.completed" in again.body) == (200, True)

    play(leaving, scene)
    assert pieces(leaving.deployment)
