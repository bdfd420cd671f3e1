"""Where a body names its ceiling: what is read is what is bounded, in every row."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.dialects import ceilings
from chalicelib.dialects.ceilings import ANY, BODIES, CHAT, OF_CHAT, RESPONSE, Location
from chalicelib.refusal import Malformed
from tests.examples import examples, in_turn

UNHEARD = "unheard.of"
ROWS: dict[str, tuple[Location, ...]] = {**{f"{start}x-v1:0": places for start, places in BODIES.items()}, UNHEARD: ANY}
PLACES = [(model, place) for model, places in ROWS.items() for place in places]
OUTER = [(model, place[:-1]) for model, place in PLACES if place[1:]]
WRONG = ["many", "5", 0, -1, 1.5, 5.0, True, [], {}, 10_000_001, 10**30]

NAMES = st.sampled_from(
    ["", "é", '"', "Max_Tokens", "messages", *{name: 0 for place in (*ANY, *CHAT) for name in place}]
)
COUNTS = st.integers(1, 10_000_000)
VALUES = (
    "null",
    "1.50",
    "1E+2",
    "-0",
    "[ 1 ,2]",
    '{"max_tokens" : 1}',
    '"\\u00e9 é"',
    "12345678901234567890123",
)
"""Members that are none of ours, in forms that would not survive being read and written again."""

Members = dict[str, Any]
"""Of an object: text of JSON, or members again."""


@st.composite
def bodies(draw: st.DrawFn, places: tuple[Location, ...]) -> tuple[Members, dict[Location, int | None]]:
    """Members of a body, and what stands at those of the places that are there."""
    there = draw(st.dictionaries(st.sampled_from(places), st.none() | COUNTS))
    body = draw(_strangers(places, ()))
    for place, count in there.items():
        holder = body
        for depth in range(1, len(place)):
            holder = holder.setdefault(place[depth - 1], draw(_strangers(places, place[:depth])))
        holder[place[-1]] = json.dumps(count)
    return body, there


def _strangers(places: tuple[Location, ...], outer: Location) -> st.SearchStrategy[Members]:
    """Members that are on the way to no place."""
    ours = {place[len(outer)] for place in places if place[: len(outer)] == outer}
    return st.dictionaries(NAMES.filter(lambda name: name not in ours), st.sampled_from(VALUES), max_size=3)


def written(members: Members) -> str:
    pairs = (
        f"{json.dumps(name)} : {written(value) if isinstance(value, dict) else value}"
        for name, value in members.items()
    )
    return "{" + ", ".join(pairs) + "}"


def members_of(body: bytes, like: Members) -> Members:
    """Those of a body, with objects where `like` has them."""
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {
        name: members_of(bytes(value), inner) if isinstance(inner := like.get(name), dict) else bytes(value).decode()
        for name, value in found.items()
    }


def nested(place: Location, value: object) -> bytes:
    for name in reversed(place):
        value = {name: value}
    return msgspec.json.encode(value)


@pytest.mark.parametrize("model", ROWS)
@settings(max_examples=examples(50))
@given(st.data(), COUNTS)
def test_what_is_read_is_what_is_bounded_and_nothing_else_changes(
    model: str, data: st.DataObject, ceiling: int
) -> None:
    places = ROWS[model]
    members, there = data.draw(bodies(places))
    counts = {place: count for place, count in there.items() if count is not None}
    body = written(members).encode()
    assert ceilings.of_body(body, model) == max(counts.values(), default=None)

    bounded = ceilings.bounded_body(body, model, ceiling)
    in_force = {place: min(count, ceiling) for place, count in counts.items()}
    if not counts and model != UNHEARD:
        in_force = {places[0]: ceiling}
    assert ceilings.of_body(bounded, model) == max(in_force.values(), default=None)
    for place, count in in_force.items():
        holder = members
        for name in place[:-1]:
            holder = holder.setdefault(name, {})
        holder[place[-1]] = json.dumps(count)
    assert members_of(bounded, members) == members


@in_turn("model, place", PLACES)
def test_every_place_is_read_and_bounded(model: str, place: Location) -> None:
    assert ceilings.of_body(nested(place, 2_000), model) == 2_000
    assert ceilings.bounded_body(nested(place, 2_000), model, 2_000) == nested(place, 2_000)
    assert ceilings.bounded_body(nested(place, 2_001), model, 2_000) == nested(place, 2_000)


@in_turn("model, place", PLACES)
@in_turn("wrong", WRONG)
def test_what_is_no_number_of_tokens_is_refused_where_it_stands(model: str, place: Location, wrong: object) -> None:
    body = nested(place, wrong)
    for read in (lambda: ceilings.of_body(body, model), lambda: ceilings.bounded_body(body, model, 9)):
        with pytest.raises(Malformed) as refused:
            read()
        assert refused.value.field == ".".join(place)
        assert ".".join(place) in refused.value.text


@in_turn("model, outer", [(model, outer) for model, outer in OUTER if model != UNHEARD])
@in_turn("wrong", [None, 7, "{}", []])
def test_what_is_to_hold_the_ceiling_has_to_be_an_object(model: str, outer: Location, wrong: object) -> None:
    body = nested(outer, wrong)
    assert ceilings.of_body(body, model) is None
    with pytest.raises(Malformed) as refused:
        ceilings.bounded_body(body, model, 9)
    assert refused.value.field == outer[-1]


@pytest.mark.parametrize("outer", [outer for model, outer in OUTER if model == UNHEARD])
def test_a_model_that_nobody_knows_may_mean_something_else_by_what_holds_a_ceiling(outer: Location) -> None:
    others: list[object] = [None, 7, "{}", []]
    for other in others:
        assert ceilings.of_body(nested(outer, other), UNHEARD) is None
        assert ceilings.bounded_body(nested(outer, other), UNHEARD, 9) == nested(outer, other)


@in_turn("body", [b"[]", b"7", b"null", b"", b"{", b'{"a":}', b"\xff", b"[" * 100_000])
@in_turn("model", ROWS)
def test_a_body_has_to_be_an_object(model: str, body: bytes) -> None:
    for read in (lambda: ceilings.of_body(body, model), lambda: ceilings.bounded_body(body, model, 9)):
        with pytest.raises(Malformed):
            read()


@in_turn("model, place", PLACES)
def test_no_ceiling_is_smuggled_in_by_saying_it_twice_or_in_other_letters(model: str, place: Location) -> None:
    *outer, name = place
    twice = f'{{"{name}": 5, "\\u{ord(name[0]):04x}{name[1:]}": 900}}'
    for each in reversed(outer):
        twice = f'{{"{each}": {twice}}}'
    assert ceilings.of_body(twice.encode(), model) == 900
    assert ceilings.bounded_body(twice.encode(), model, 64) == nested(place, 64)


@in_turn("start", BODIES)
@in_turn(
    "name",
    [
        "us.{}",
        "us-gov.{}",
        "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{}",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{}",
    ],
)
def test_a_profile_or_an_arn_of_a_model_is_its_model(start: str, name: str) -> None:
    model = f"{start}x-v1:0"
    wanted = nested(BODIES[start][0], 7)
    assert ceilings.bounded_body(b"{}", model, 7) == ceilings.bounded_body(b"{}", name.format(model), 7) == wanted
    for place in BODIES[start]:
        assert ceilings.of_body(nested(place, 9), name.format(model)) == 9


@in_turn("start", BODIES)
def test_a_model_whose_name_only_contains_anothers_is_not_that_model(start: str) -> None:
    assert ceilings.bounded_body(b"{ }", f"my-{start}x", 7) == b"{ }"


def test_a_chat_is_read_by_the_first_of_its_names_that_is_there() -> None:
    for place in CHAT:
        assert ceilings.of_chat(_chat({place[0]: 9})) == 9
    first, second = (name for (name,) in CHAT)
    assert ceilings.of_chat(_chat({first: 5, second: 9})) == 5
    assert ceilings.of_chat(_chat({first: None, second: 9})) == 9
    assert ceilings.of_chat(_chat({first: None})) is None


@in_turn("wrong", WRONG)
def test_a_chat_that_names_no_number_of_tokens_is_refused_where_it_stands(wrong: object) -> None:
    for (name,) in CHAT:
        with pytest.raises(Malformed) as refused:
            ceilings.of_chat(_chat({name: wrong}))
        assert refused.value.field == name


@given(
    st.dictionaries(st.sampled_from(sorted(OF_CHAT)), COUNTS | st.none()),
    st.dictionaries(NAMES.filter(lambda name: name not in OF_CHAT), st.none() | st.integers(), max_size=3),
    COUNTS,
)
def test_a_bounded_chat_names_the_reserved_ceiling_once_and_keeps_the_rest(
    named: dict[str, int | None], others: dict[str, object], ceiling: int
) -> None:
    body: dict[str, object] = {**named, **others}
    ceilings.bound_chat(body, ceiling)
    assert body == {**others, "max_tokens": ceiling}
    assert ceilings.of_chat(_chat(body)) == ceiling


def _chat(fields: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}


def test_a_response_is_read_by_its_own_name_alone() -> None:
    ((name,),) = RESPONSE
    assert ceilings.of_response(_chat({name: 9, "max_tokens": 5})) == 9
    assert ceilings.of_response(_chat({name: None})) is ceilings.of_response(_chat({"max_tokens": 5})) is None


@in_turn("wrong", WRONG)
def test_a_response_that_names_no_number_of_tokens_is_refused_where_it_stands(wrong: object) -> None:
    for (name,) in RESPONSE:
        with pytest.raises(Malformed) as refused:
            ceilings.of_response(_chat({name: wrong}))
        assert refused.value.field == name
