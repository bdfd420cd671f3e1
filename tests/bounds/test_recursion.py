"""Grammars whose rules lead back to themselves: those that multiply an engine's stacks are refused, real ones taken."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds import Exceeded, grammars, must_hold
from tests.examples import examples


def held(grammar: str, member: str = "grammar") -> None:
    must_hold({member: msgspec.Raw(json.dumps(grammar).encode())})


ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]*)) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws     ::= ([ \t\n] ws)?
"""
LIST = r"""
root ::= item+
item ::= "- " [^\r\n\x0b\x0c\x85\u2028\u2029]+ "\n"
"""
CHESS = r"""
root    ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move    ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn    ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle  ::= "O-O" "-O"?
"""
C = r"""
root        ::= declaration*
declaration ::= type name "(" (type name)? ")" "{" statement* "}"
type        ::= ("int" | "float" | "char") ws
name        ::= [a-zA-Z_] [a-zA-Z_0-9]*
statement   ::= type name ws "=" ws expression ";" | name ws "=" ws expression ";" | name ws "(" arguments? ")" ";"
    | "return" ws expression ";" | "while" "(" condition ")" "{" statement* "}"
    | "for" "(" type? name ws "=" ws expression ";" ws condition ";" ws name ws "=" ws expression ")" "{" statement* "}"
    | "if" "(" condition ")" "{" statement* "}" ("else" "{" statement* "}")? | comment
condition   ::= expression ("<=" | "<" | "==" | "!=" | ">=" | ">") expression
expression  ::= term (("+" | "-") term)*
term        ::= factor (("*" | "/") factor)*
factor      ::= name | [0-9]+ | "-" factor
    | name "(" arguments? ")" | name "[" expression "]" | "(" ws expression ws ")"
arguments   ::= expression ("," ws expression)*
comment     ::= "//" [^\n]* "\n" | "/*" ([^*] | "*" [^/])* "*/"
ws          ::= [ \t\n]+
"""
SQL = r"""
root   ::= select ";"
select ::= "SELECT " cols " FROM " src (" WHERE " cond)? (" GROUP BY " exprs)? (" ORDER BY " expr " DESC"?)?
cols   ::= "*" | expr (" AS " id)? (", " expr (" AS " id)?)*
src    ::= tab ((" JOIN " | " LEFT JOIN ") tab " ON " cond)*
tab    ::= id (" " id)? | "(" select ") " id
cond   ::= and (" OR " and)*
and    ::= not (" AND " not)*
not    ::= "NOT " not | expr ((" = " | " < " | " <= ") expr | " IS NULL" | " IN (" (exprs | select) ")")?
exprs  ::= expr ("," " "? expr)*
expr   ::= fac ((" + " | " * ") fac)*
fac    ::= [0-9]+ | id ("." id)? | id "(" ("*" | exprs)? ")" | "(" expr ")"
    | "CASE" (" WHEN " cond " THEN " expr)+ " END"
id     ::= [a-z_] [a-z0-9_]*
"""
ALIKE_BUT_TOLD_APART = [
    's ::= "(" s ")" | "[" s "]" | "x"',
    's ::= "for" s "a" | "foreach" s "b" | "y"',
    's ::= [a-m] s "1" | [n-z] s "2" | "."',
    's ::= [^a] s "1" | "a" s "2" | "."',
    's ::= "\\x61" s "1" | "\\u0062" s "2" | "."',
    's ::= "x" s | "x" "y" s | "z"',
    's ::= "x" s ("a" | "b") | "y"',
    's ::= "(" s+ ")" | [a-z]+ " "',
    's ::= <a> s "1" | <b> s "2" | "y"',
    'html ::= ("<" tag ">" html "</" tag ">" | [^<]+)*\ntag ::= [a-z]+',
    'statement ::= "if" statement ("else" statement)? | "y"',
    'expr ::= expr "+" term | term\nterm ::= "(" expr ")" | [0-9]+',
    "s ::= " + " | ".join(f'"{letter}(" s "," s ")"' for letter in "abcdefghijklmnopqrstuvwxyz"),
]


@pytest.mark.parametrize("grammar", [ARITHMETIC, JSON, LIST, CHESS, C, SQL, *ALIKE_BUT_TOLD_APART])
def test_a_grammar_that_programs_send_is_taken(grammar: str) -> None:
    held(grammar)


@pytest.mark.parametrize(
    "grammar",
    [
        's ::= "x" s "a" | "x" s "b"',
        'root ::= s\ns ::= ("x" s "a" | "x" s "b")?',
        's ::= ("x" (s "a" | s "b"))* | "y"',
        's ::= [a-z] s "1" | "q" s "2" | "."',
        's ::= [^a] s "1" | [b-d] s "2" | "."',
        's ::= . s "1" | "x" s "2"',
        's ::= "\\x78" s "1" | "\\u0078" s "2"',
        's ::= "xy" s "1" | "x" "y" s "2" | "."',
        's ::= <a> s "1" | <a> s "2"',
        's ::= none "x" s "1" | "x" s "2"\nnone ::= "e"?',
        's ::= none* "x" s "1" | "x" s "2"\nnone ::= "e" | ',
        's ::= a "1" | b "2"\na ::= "x" s\nb ::= c\nc ::= "x" s',
        's ::= "x" s "1" | "x" "x" s "2" | "y"',
        's ::= "x"{3} s "1" | "x"{2} s "2" | "y"',
        's ::= "x"{30} s "1" | "x"{20} s "2" | "y"',
        's ::= "x"+ s "1" | "xx" s "2" | "y"',
        's ::= id "(" s ")" | id [a-z] s "]"\nid ::= [a-z]+',
        's ::= outer "q" s | "y"\nouter ::= inner "z"\ninner ::= "a" | "b" s "c" | "b" s "d"',
        'e ::= "CASE" (" WHEN " e " THEN " e)+ " END" | [a-zA-Z]+',  # which may be CASE itself
        's ::= "i" t | "y"\nt ::= s ("e" s "1")?',
        's ::= s "1" | "x" s "a" | "x" s "b" | "y"',
        's ::= "harmless"\ns ::= "x" s "a" | "x" s "b"',
        "\n".join(f'r{n} ::= "x" r{n} "a" | r{n + 1}' for n in range(8)) + '\nr8 ::= "y"',
    ],
)
def test_a_grammar_that_multiplies_its_stacks_is_refused(grammar: str) -> None:
    with pytest.raises(Exceeded, match="The grammar in `grammar` has rules that the same text leads back to"):
        held(grammar)


@pytest.mark.parametrize("member", ["grammar", "guided_grammar", "ebnf"])
def test_its_refusal_names_the_member_that_holds_it(member: str) -> None:
    with pytest.raises(Exceeded, match=f"The grammar in `{member}` has rules that the same text leads back to"):
        held('s ::= "x" s "a" | "x" s "b"', member)


@pytest.mark.parametrize(
    "grammar",
    [
        "\n".join(f'r{n} ::= "(" r{n} ")" | r{n + 1}' for n in range(900)),
        "\n".join(f"r{n} ::= r{n + 1} r{n + 1}" for n in range(2_000)) + '\ns ::= "(" s ")"\nr2000 ::= ""',
        's ::= "(" s ")" ' + '(""){,8} ' * 5_000,
        "s ::= " + "(" * 30_000 + ' s "b"',
        "s ::= [" + "".join(chr(0x4E00 + 2 * n) for n in range(9_000)) + '] s "a" | "y"',
    ],
    ids=["circles", "empty", "groups", "brackets", "ranges"],
)
def test_what_is_too_large_to_tell_is_refused(grammar: str) -> None:
    assert grammars.multiplies(grammar)


@given(st.text('sr"x()|*+?{,2} []^-<>!\\', max_size=40))
@settings(max_examples=examples(200))
def test_any_text_is_taken_apart(text: str) -> None:
    assert grammars.multiplies(f"s ::= {text}\nr ::= {text}") in (True, False)
