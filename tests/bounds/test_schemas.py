"""What an engine would build of a schema, a pattern or a grammar; and that real ones are far from the bounds."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounds import Exceeded, grammars, must_hold, patterns, schemas
from bounds.sizes import Size


def held(**members: Any) -> None:
    must_hold({name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()})


def refused(**members: Any) -> str:
    with pytest.raises(Exceeded) as caught:
        held(**members)
    assert caught.value.member in members
    return caught.value.text


def shaped(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def spelled(pattern: str) -> dict[str, Any]:
    return shaped({"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}})


REAL_PATTERNS = [
    r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$",
    r"^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$",
    r"^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
    r"^(\+?\d{1,3})?[-. ]?\(?\d{3}\)?[-. ]?\d{3}[-. ]?\d{4}$",
    r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
    r"^[A-Za-z0-9+/]{0,2000}={0,2}$",
    r"^(?:[a-z][a-z0-9-]{0,61}\.){1,8}[a-z]{2,63}$",
]


@pytest.mark.parametrize("pattern", REAL_PATTERNS)
def test_patterns_that_programs_send_are_far_from_the_bounds(pattern: str) -> None:
    size = patterns.size_of(pattern)
    assert size.positions <= schemas.SPELLED / 4
    assert size.width.most <= schemas.CHOICES / 4
    assert size.row.most <= schemas.ROW / 4


@pytest.mark.parametrize(
    ("pattern", "positions", "width", "row"),
    [
        ("abc", 3, 1, 1),
        (r"a\d[^\]x]", 3, 1, 1),
        ("a|bc", 3, 2, 1),
        ("a{3,5}", 5, 1, 1),
        ("a?b?c?d", 4, 4, 4),
        ("(a?){20}", 20, 21, 21),
        ("(a|b|c)*", 3, 3, 1),
        ("((a{2}){3}){4}", 24, 3, 3),
        ("x{,4}", 4, 1, 1),
        ("{}", 1, 1, 1),
        ("a(b", 2, 1, 1),
    ],
)
def test_a_pattern_is_measured_as_it_is_spelled_out(pattern: str, positions: int, width: int, row: int) -> None:
    size = patterns.size_of(pattern)
    assert (size.positions, size.width.most, size.row.most) == (positions, width, row)


@given(st.text("ab()[]{}|*+?,0123456789\\^$", max_size=40))
def test_any_text_has_a_size_as_pattern_and_as_grammar(text: str) -> None:
    for size in (patterns.size_of(text), grammars.size_of(text), grammars.size_of(f"root ::= {text}")):
        assert size.positions >= 0 and size.width.most >= 0 and size.row.most >= 0


@given(st.text("ab()|*+?", max_size=30), st.integers(0, 40))
def test_what_is_repeated_is_never_smaller(text: str, times: int) -> None:
    def measures(size: Size) -> tuple[int, int, int]:
        return size.positions, size.width.most, size.row.most

    once, often = patterns.size_of(f"(?:{text})"), patterns.size_of(f"(?:{text}){{{times + 1}}}")
    assert all(few <= many for few, many in zip(measures(once), measures(often), strict=True))


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a|a)*{2000}$",
        "^(a?){500}$",
        "^(a*b*c*){64}$",
        "^((a{0,100}){0,100}){0,100}$",
        "^(" + "|".join("a" * 300) + ")$",
    ],
)
def test_a_pattern_that_would_keep_an_engine_is_refused(pattern: str) -> None:
    refused(**spelled(pattern))
    refused(guided_regex=pattern)
    refused(structured_outputs={"regex": pattern})
    refused(text={"format": {"type": "json_schema", "schema": {"type": "string", "pattern": pattern}}})
    refused(tools=[{"name": "t", "input_schema": {"properties": {"x": {"type": "string", "pattern": pattern}}}}])
    refused(guided_json=json.dumps({"type": "string", "pattern": pattern}))


DOUBLING = "root ::= r0\n" + "".join(f"r{n} ::= r{n + 1} | r{n + 1} r{n + 1}\n" for n in range(20)) + 'r20 ::= "x"\n'
JSON_GRAMMAR = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws  # each of any kind
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""


@pytest.mark.parametrize(
    "grammar",
    ['root ::= a{0,1000}\na ::= "x"?\n', 'root ::= ("x"? "y"? "z"?){200}\n', DOUBLING, 'root ::= "x"*' + "*{90}" * 3],
    ids=["inner", "row", "doubling", "stacked"],
)
def test_a_grammar_that_would_keep_an_engine_is_refused(grammar: str) -> None:
    refused(grammar=grammar)
    refused(structured_outputs={"grammar": grammar})


def test_a_grammar_that_programs_send_is_taken() -> None:
    held(grammar=JSON_GRAMMAR)
    assert grammars.size_of(JSON_GRAMMAR).row.most <= schemas.ROW / 4


def test_a_large_grammar_is_measured_in_its_own_time() -> None:
    held(grammar="root ::= " + " ".join(f"r{n}" for n in range(3_000)) + "\n" + 'r1 ::= "x"\n' * 2_000)


def properties(number: int, schema: Any = None, *, required: bool = False) -> dict[str, Any]:
    members = {f"property_{index}": schema or {"type": "string"} for index in range(number)}
    return {"type": "object", "properties": members, **({"required": list(members)} if required else {})}


@pytest.mark.parametrize(
    ("most", "too_much", "said"),
    [
        ({"enum": [f"v{n}" for n in range(1_000)]}, {"enum": [f"v{n}" for n in range(1_025)]}, "1,025 ways to go on"),
        (properties(300), properties(800), "positions in all"),
        (properties(1_500, required=True), properties(1_500, {"maxLength": 300}, required=True), "positions in all"),
        ({"anyOf": [properties(3)] * 900}, {"anyOf": [{"anyOf": [properties(1)] * 40}] * 40}, "1,600 ways"),
        ({"maxItems": 10**9}, [{"maxItems": 2_000}] * 130, "positions in all"),
    ],
    ids=["enum", "optional", "lengths", "alternatives", "items"],
)
def test_what_a_schema_makes_an_engine_build_is_bounded(most: Any, too_much: Any, said: str) -> None:
    held(**shaped(most))
    assert said in refused(**shaped(too_much))


def test_nothing_takes_away_from_what_the_rest_makes() -> None:
    many = [{"maxItems": 2_000}] * 130
    refused(**shaped([*many, {"maxItems": -(10**9)}, {"minLength": -1e12}]))


WORDS = (
    "properties",
    "required",
    "anyOf",
    "$ref",
    "$defs",
    "enum",
    "pattern",
    "maxItems",
    "items",
    "const",
    "json",
    "x",
)
ANY_SCHEMA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(("#", "#/$defs/x", "#/properties/x/anyOf/0", "object", "(a|a)*{2000}")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@given(ANY_SCHEMA, st.sampled_from(("tools", "response_format", "guided_json", "json_schema", "structured_outputs")))
def test_any_json_is_within_the_bounds_or_is_not(schema: Any, member: str) -> None:
    try:
        held(**{member: schema})
    except Exceeded as exceeded:
        assert exceeded.member == member


def test_references_are_followed_and_circles_are_not() -> None:
    tree = {"$ref": "#/$defs/node", "$defs": {"node": properties(2, {"$ref": "#/$defs/node"})}}
    held(**shaped(tree))
    twice = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}
    assert "ways to go on" in refused(**shaped({"$ref": "#/$defs/d0", "$defs": {**twice, "d20": {"type": "string"}}}))
    chain = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(300)}
    assert "references" in refused(**shaped({"$ref": "#/$defs/d0", "$defs": chain}))


def test_large_tool_lists_of_real_programs_are_taken() -> None:
    parameters = {
        "type": "object",
        "properties": {
            f"argument_{index}": {
                "type": "string",
                "description": "What this argument is for, and when it may be left out. " * 3,
                "enum": ["left", "right", "both"],
                "maxLength": 500,
                "pattern": REAL_PATTERNS[index % len(REAL_PATTERNS)],
            }
            for index in range(6)
        },
        "required": ["argument_0"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": f"tool_{n}", "parameters": parameters}} for n in range(45)]
    assert 80_000 < len(json.dumps(tools)) < 140_000
    held(tools=tools)


def test_what_holds_once_holds_again_and_what_does_not_never_does() -> None:
    for _ in range(2):
        held(**spelled("^a{10}$"))
        refused(**spelled("^(a|a)*{2000}$"))
        refused(grammar="root ::= " + '"x"? ' * 100)
    held(response_format={"type": "text"}, tools="no list", grammar=3, json_schema=None)


def node(kind: str, *, tag: Any = None, leading: bool = True) -> dict[str, Any]:
    """A part of a tree, whose `left` is a tree again; `tag` says what it is, in front of that or after it."""
    tagged = {"kind": {"const": tag} if tag else {"type": "string"}}
    members = {**(tagged if leading else {}), "left": {"$ref": "#/$defs/tree"}, **({} if leading else tagged)}
    return {"type": "object", "properties": {**members, kind: {"type": "integer"}}, "required": [*members, kind]}


def tree(*kinds: Any) -> dict[str, Any]:
    return shaped({"$ref": "#/$defs/tree", "$defs": {"tree": {"anyOf": list(kinds)}}})


LEAF = {"type": "object", "properties": {"kind": {"const": "leaf"}}, "required": ["kind"]}


@pytest.mark.parametrize(
    "kinds",
    [
        (node("b", tag="add"), node("c", tag="mul"), LEAF),
        (node("b"), LEAF, {"type": "null"}),
        ({"type": "array", "items": {"$ref": "#/$defs/tree"}}, {"type": "string"}),
    ],
    ids=["told apart", "one of them", "a list"],
)
def test_trees_whose_parts_are_told_apart_are_taken(kinds: tuple[Any, ...]) -> None:
    held(**tree(*kinds))


@pytest.mark.parametrize(
    "kinds",
    [
        (node("b"), node("c")),
        (node("b", tag="same"), node("c", tag="same")),
        (node("b", tag="add", leading=False), node("c", tag="mul", leading=False), LEAF),
        ({"$ref": "#/$defs/tree"}, {"items": {"$ref": "#/$defs/tree"}}),
    ],
    ids=["alike", "one constant", "told apart too late", "no objects"],
)
def test_trees_whose_parts_begin_alike_are_refused(kinds: tuple[Any, ...]) -> None:
    assert "begin alike" in refused(**tree(*kinds))


def test_a_way_back_through_what_was_walked_through_already_is_found() -> None:
    definitions = {
        "tree": {"anyOf": [{"items": {"$ref": "#/$defs/more"}}, {"items": {"$ref": "#/$defs/more"}}]},
        "more": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
    }
    assert "begin alike" in refused(**shaped({"$ref": "#/$defs/tree", "$defs": definitions}))
