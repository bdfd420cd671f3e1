"""A conversation that was kept comes before what is asked now, each item as it was."""

from typing import Any

import msgspec
import pytest

from chalicelib.dialects.responses import history
from chalicelib.refusal import Malformed

USER = {"role": "user", "content": "Hi"}
SAID = {"type": "message", "id": "msg_r1_0", "role": "assistant", "content": [{"type": "output_text", "text": "Ho"}]}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def plain(items: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(items))


def kept(name: str = "resp_r1", previous: str | None = None) -> history.Kept:
    response = {"id": name, "output": [SAID], "previous_response_id": previous, "status": "completed"}
    return history.read(msgspec.json.encode([USER]), msgspec.json.encode(response))


@pytest.mark.parametrize(
    ("asked", "items"),
    [
        ("Hi", [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]),
        ([USER, SAID], [USER, SAID]),
        ([], []),
    ],
)
def test_an_input_is_its_items(asked: Any, items: Any) -> None:
    assert plain(history.items_of({"input": raw(asked)})) == items


def test_what_was_kept_is_read_back() -> None:
    found = kept(previous="resp_r0")
    assert (found.id, found.previous) == ("resp_r1", "resp_r0")
    assert (plain(found.asked), plain(found.answered)) == ([USER], [SAID])


def test_the_conversation_comes_first() -> None:
    again = {"role": "user", "content": "And?"}
    whole = history.before([kept("resp_r0"), kept()], [raw(again)])
    assert plain(whole) == [USER, SAID, USER, SAID, again]


def test_an_item_that_is_referred_to_is_put_in_its_place() -> None:
    items = [raw(USER), raw({"type": "item_reference", "id": "msg_r1_0"})]
    assert history.responses_of(items) == {"resp_r1"}
    assert plain(history.resolved(items, [kept()], "")) == [USER, SAID]


@pytest.mark.parametrize("reference", ["msg_r1_1", "msg_r2_0", "", "x", "__", "msg__"])
def test_a_reference_to_what_was_not_kept_is_refused_where_it_stands(reference: str) -> None:
    items = [raw(USER), raw({"type": "item_reference", "id": reference})]
    assert len(history.responses_of(items)) == 1
    with pytest.raises(Malformed) as refused:
        history.resolved(items, [kept()], "send it.")
    assert refused.value.field == "input[1].id"
    assert refused.value.text == f"input[1]: no item {reference!r} is kept: send it."


@pytest.mark.parametrize("item", [b"3", b'{"type":3}', b"null", b'{"type":"item_referenc\xff"}'])
def test_what_is_no_item_is_left_to_whoever_reads_items(item: bytes) -> None:
    assert history.responses_of([msgspec.Raw(item)]) == set()
    assert [bytes(each) for each in history.resolved([msgspec.Raw(item)], [], "")] == [item]
