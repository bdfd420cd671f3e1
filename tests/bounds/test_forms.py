"""Grammars in the forms that engines take: Lark is bounded as GBNF is, and what is in neither form is refused."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounds import Exceeded, forms, grammars, must_hold
from tests.examples import every


def held(**members: Any) -> None:
    must_hold({name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()})


def refused(**members: Any) -> str:
    with pytest.raises(Exceeded) as caught:
        held(**members)
    assert caught.value.member in members
    return caught.value.text


CALCULATOR = r"""
?start: sum                       // as Lark's own documentation has it
?sum: product | sum "+" product -> add | sum "-" product -> sub
?product: atom
    | product "*" atom -> mul
    | product "/" atom -> div
?atom: NUMBER -> number | "-" atom -> neg | "(" sum ")"
%import common.NUMBER
%import common.WS_INLINE -> SPACE
%ignore SPACE
"""
JSON = r"""
?value: dict | list | string | SIGNED_NUMBER -> number | "true" -> true | "false" -> false | "null" -> null
list: "[" [value ("," value)*] "]"
dict: "{" [pair ("," pair)*] "}"
pair: string ":" value
string: ESCAPED_STRING
%import common (ESCAPED_STRING, SIGNED_NUMBER, WS)
%ignore WS
"""
SQL = r"""
start: select ";"                                # only to read
select: "select"i columns "from"i NAME ["where"i condition]
columns: "*" | NAME ("," NAME)~0..50
condition: NAME ("=" | "<" | ">") (STRING | /[0-9]{1,9}/)
NAME.2: /(?!select)[a-z_]\w{0,30}/i
STRING: "'" /[^']*/ "'"
"""
CALL = r"""
%llguidance {"no_forcing": true}
start: TEXT | <|python_tag|> call <[128008]>
TEXT[lazy, max_tokens=100]: /[^{](.|\n)*/
HEX: ("0".."9" | "a".."f"){4,8}
call: %json {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
"""


@pytest.mark.parametrize("grammar", [CALCULATOR, JSON, SQL, CALL], ids=["calculator", "json", "sql", "call"])
@pytest.mark.parametrize("member", ["grammar", "guided_grammar", "ebnf"])
def test_a_grammar_in_lark_that_programs_send_is_taken(grammar: str, member: str) -> None:
    held(**{member: grammar})
    held(structured_outputs={"grammar": grammar})


@pytest.mark.parametrize(
    "grammar",
    [
        'start: x~1000\nx: "a"?',
        'start: "aaaaaaaaaa"~1..2000',
        'start: "ab"{ 9000 }',
        'start: ["x"]~200',
        "start: /(a|a)*{2000}/",
        "start: /(ab){9000}/i",
        "START.3: /((a{0,100}){0,100}){0,100}/",
        "start: FEW\nFEW: /a?/ ~ 100",
        'start[stop=/(a?){500}/]: "a"',
        "%ignore /(a?){500}/\nstart: /a/",
        'start: %json {"type": "string", "pattern": "^(a?){500}$"}',
        'start: "\' b{9000} \'"\nb: "aa"',
        'start: ["] b{9000} ["]\nb: "aa"',
        'start: [/] b{9000} [/]\nb: "aa"',
        "start: /(?x)( (ab){9000} #){0}(\n )/",
        "// comment\n# another\nstart: x~1000\nx: /a?/",
        "\n".join(f"r{n}: r{n + 1} | r{n + 1} r{n + 1}" for n in range(20)) + '\nr20: "x"',
    ],
)
def test_a_grammar_in_lark_that_would_keep_an_engine_is_refused(grammar: str) -> None:
    assert "most" in refused(guided_grammar=grammar)
    assert "most" in refused(structured_outputs={"grammar": grammar})
    assert "most" in refused(grammar=grammar)


@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        ("this is ( no grammar", "GBNF"),
        ('{"grammars": [{"lark_grammar": "start: /(a?){500}/"}]}', "Lark"),
        ('pair{a, b}: a "," b\nstart: pair{"x", "y"}', "templates"),
        ('start : perm::0x0\nperm::_ : "a" perm::set_bit(0) %if bit_clear(0)', "parameters"),
        ('start: A & ~B\nA: "a"\nB: "b"', "written out"),
        ("start: %regex {}", "written out"),
        ("%import python.NAME\nstart: NAME", "written out"),
        ("start: %json {no json", "written out"),
        ('start: "::=" /a/', "`::=`"),
    ],
)
def test_a_grammar_in_no_form_that_is_known_is_refused_with_what_to_do(grammar: str, said: str) -> None:
    text = refused(guided_grammar=grammar)
    assert said in text and "`guided_grammar`" in text


@pytest.mark.parametrize(
    "grammar",
    ['root ::= "a"{ 9000 , 9001 }"b"', 'root ::= "a"{ # so many\n 9000 # times\n} "bb"{2000}'],
)
def test_a_repetition_counts_wherever_its_spaces_and_comments_are(grammar: str) -> None:
    assert "most" in refused(grammar=grammar + ' "c"{2000}')


@pytest.mark.parametrize("form", ["root ::= {}", "start: {}", "start: /{}/"])
def test_groups_within_each_other_are_counted(form: str) -> None:
    def nested(depth: int) -> str:
        return form.format("(" * depth + "a" + ")" * depth)

    held(grammar=nested(190))
    assert "groups within each other more deeply than 200" in refused(grammar=nested(210))
    assert "groups within each other" in refused(guided_regex="(" * 210)


def test_an_empty_grammar_is_none() -> None:
    held(grammar="", guided_grammar=" \n", ebnf=None)


TREE = {"$ref": "#/$defs/d0", "$defs": {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(300)}}


@pytest.mark.parametrize("member", ["grammar", "response_format"])
def test_what_tgi_calls_a_grammar_is_measured_as_what_it_is(member: str) -> None:
    held(**{member: {"type": "regex", "value": "[a-z]{1,40}"}})
    held(**{member: {"type": "json", "value": {"type": "string"}}})
    assert "most" in refused(**{member: {"type": "regex", "value": "^(a|a)*{2000}$"}})
    for kind in ("json", "json_object"):
        assert "references" in refused(**{member: {"type": kind, "value": TREE}})
        assert "references" in refused(**{member: {"type": kind, "value": json.dumps(TREE)}})
    assert "references" in refused(**{member: {"type": "json_schema", "value": {"name": "x", "schema": TREE}}})


@pytest.mark.parametrize(("syntax", "definition"), [("lark", "start: /(a?){500}/"), ("regex", "(a?){500}")])
def test_a_tool_that_is_held_to_a_grammar_is_bounded(syntax: str, definition: str) -> None:
    grammar = {"syntax": syntax, "definition": definition}
    tool = {"type": "custom", "custom": {"name": "t", "format": {"type": "grammar", "grammar": grammar}}}
    assert "most" in refused(tools=[tool])
    assert "most" in refused(tools=[{"type": "custom", "name": "t", "format": {"type": "grammar", **grammar}}])


def test_a_structural_tag_written_as_a_text_is_looked_into() -> None:
    tag = {"type": "structural_tag", "format": {"type": "grammar", "grammar": 'root ::= ("x"?){500}'}}
    assert "most" in refused(structured_outputs={"structural_tag": json.dumps(tag)})


@given(st.text('sr:=x1"/()[]|*+?{,2} ~.%&->i\\\n', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        readings = forms.readings(f"s: {text}")
    except forms.UnknownFormError:
        return
    for gbnf in readings.gbnf:
        assert grammars.size_of(gbnf).positions >= 0


def test_a_large_grammar_in_lark_is_read_in_its_own_time() -> None:
    parts = ("r[", '"a" ', '"', "/a/ ", "(", "r ", "r{2} ", "r{ ", "'a", "[a] ", "%json {} ", "r: \n", "#", "\\")
    for part in every(parts):
        with suppress(Exceeded):
            held(grammar="s: " + part * (60_000 // len(part)))
