"""The second stage: what a guardrail of Bedrock's says is done, in each dialect, whole or in chunks, and its faults."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Call, Delta, Event, Pause
from chalicelib.dialects.apply_guardrail import (
    UNITS_AT_ONCE,
    Source,
    Unanswered,
    Verdict,
    request,
    units,
    verdict,
)
from chalicelib.guardrails.second import SecondJudge, judged
from chalicelib.guardrails.stage import MOST_UNITS, PATIENCE, RULE, TOO_LONG, UNJUDGED, Stage
from chalicelib.guardrails.streams import Judged
from chalicelib.guardrails.windows import OVERLAP, WINDOW, Masked, aligned
from chalicelib.refusal import ContentRefused
from emulators.bedrock.guardrail import Guardrail, Pii, Regex, Topic, applied
from guard import Rule, Rules, compiled
from guard.bodies import NotAllowed, prompts
from guard.scanner import Refused
from tests.guardrails.test_wires import FIELDS, Field, Told, call, cut, every_field

GUARDRAIL = Guardrail(
    "demo",
    words=("rosebud",),
    topics=(Topic("merger", ("project falcon",)),),
    pii=(Pii("EMAIL"), Pii("URL"), Pii("US_SOCIAL_SECURITY_NUMBER", "BLOCK")),
    regexes=(Regex("badge", r"\bid-\d{4}\b"),),
)
RULES = compiled(Rules(rules=(Rule("secret", r"word-\d{4}", "redact"),), refusal="Not here."))
NONE = compiled(Rules())

MAIL = "ann.o'neill+x@mail.example.org"
SENTENCES = ["The quick brown fox jumps over the lazy dog, and nobody minds. ", f"write to ann@example.org or {MAIL}, ",
             "id-1234\n", "x" * 90 + " ", "ñ\u20ac\U0001f600 ", "{EMAIL} and {braces} ", "word-1234 "]  # fmt: skip
TEXTS = st.lists(st.sampled_from(SENTENCES), max_size=60).map("".join)


class Bedrock:
    """The local Bedrock's guardrail, asked without a network; and faults on command."""

    def __init__(self, source: Source = "OUTPUT", fails: Callable[[int], bool] = lambda _: False) -> None:
        self.asked: list[list[str]] = []
        self._source = source
        self._fails = fails

    def __call__(self, texts: Sequence[str]) -> Verdict:
        self.asked.append(list(texts))
        if self._fails(len(self.asked)):
            raise Unanswered("silent")
        said = msgspec.json.decode(request(self._source, texts))
        blocks = [each["text"]["text"] for each in said["content"]]
        return verdict(msgspec.json.encode(applied(GUARDRAIL, said["source"], blocks)))


def stage(bedrock: Bedrock, on_fault: Literal["closed", "open"] = "closed") -> Stage:
    return Stage(bedrock, on_fault)


class Seen(msgspec.Struct):
    """What a client got, and after which rule it got no more."""

    chunks: list[Any]
    refused: str


def seen(chunks: Sequence[Any], asked: Call, second: Stage, guard: Any = RULES) -> Seen:
    judge = SecondJudge(guard, None, second)
    answer = Judged(Told(map(msgspec.json.encode, chunks)), asked, judge, lambda _: None, judge.whole)
    got: list[Any] = []
    refused = ""
    try:
        for event in answer:
            if isinstance(event, Delta):
                got.append(msgspec.json.decode(event.data))
    except ContentRefused as refusal:
        refused = refusal.symptom
    return Seen(got, refused)


def in_chunks(field: Field, pieces: Sequence[str], second: Stage, guard: Any = RULES) -> tuple[str, str]:
    got = seen([*field.begin, *map(field.piece, pieces), *field.end], call(field.operation), second, guard)
    return "".join(map(field.read, got.chunks)), got.refused


@every_field
@given(text=TEXTS, at=st.lists(st.integers(0, 6_000), max_size=20))
def test_however_an_answer_is_cut_its_client_sees_what_the_guardrail_says_of_the_whole(
    field: Field, text: str, at: list[int]
) -> None:
    masked = GUARDRAIL.judged([text.replace("word-1234", "[secret]")]).masked[0]

    assert in_chunks(field, cut(text, at), stage(Bedrock())) == (masked, "")


@every_field
def test_what_is_blocked_ends_the_answer_and_nothing_of_it_leaves(field: Field) -> None:
    before = "all is well " * 100
    said, refused = in_chunks(field, cut(before + "and Rosebud " + before, [7, 1_200, 1_205]), stage(Bedrock()))

    assert refused == RULE
    assert before.startswith(said) and len(said) >= WINDOW - OVERLAP - len("all is well ")


def test_what_is_no_longer_than_the_overlap_is_seen_whole_wherever_it_stands() -> None:
    field = FIELDS["content"]
    for place in range(600, 1_100, 7):
        text = "a " * (place // 2) + "project falcon " + "b " * 600
        said, refused = in_chunks(field, cut(text, list(range(0, 2_400, 31))), stage(Bedrock()), NONE)
        assert refused == RULE
        assert set(said) <= {"a", " "}


def test_nothing_leaves_that_was_not_asked_about() -> None:
    bedrock = Bedrock()
    judge = SecondJudge(NONE, None, stage(bedrock))
    scanner = judge.scanner()
    sent = ""
    for _ in range(300):
        sent += scanner.feed("twelve signs ")
        known = "".join(texts[0][: WINDOW - OVERLAP + 1] for texts in bedrock.asked)
        assert len(sent) <= len(known)
    assert sent + scanner.finish() == "twelve signs " * 300
    assert all(len(texts[0]) <= WINDOW for texts in bedrock.asked)


def test_what_is_masked_to_a_windows_end_is_seen_with_what_follows() -> None:
    address = "https://" + "a" * 1_500
    judge = SecondJudge(NONE, None, stage(Bedrock()))
    scanner = judge.scanner()
    assert "".join(map(scanner.feed, f"to {address}, then")) + scanner.finish() == "to {URL}, then"


def test_masks_are_found_in_a_text_that_has_braces_of_its_own() -> None:
    text = "{EMAIL} of ann@example.org{x}id-1234id-12345"
    shown = "{EMAIL} of {EMAIL}{x}{badge}id-12345"
    assert aligned(text, shown, ["ann@example.org", "id-1234"]) == (
        Masked(11, 26, "{EMAIL}"),
        Masked(29, 36, "{badge}"),
    )
    assert aligned(text, "something else", ["ann@example.org"]) is None


def test_a_mask_that_nobody_can_place_ends_the_answer() -> None:
    def ask(_texts: Sequence[str]) -> Verdict:
        return Verdict("masked", ("not like it at all",), ("ann@example.org",))

    judge = SecondJudge(NONE, None, Stage(ask, "open"))
    scanner = judge.scanner()
    with pytest.raises(Refused):
        scanner.feed("ann@example.org " * 2_000)


WHOLES: dict[str, Any] = {
    "chat.completions": {"choices": [{"message": {"content": MAIL, "refusal": None}, "logprobs": {"content": [MAIL]}}]},
    "completions": {"choices": [{"text": MAIL}]},
    "messages": {"content": [{"type": "text", "text": MAIL}, {"type": "tool_use", "name": "f", "input": {"to": MAIL}}]},
    "responses": {"output": [{"type": "message", "content": [{"type": "output_text", "text": MAIL}]}]},
    "converse": {"output": {"message": {"content": [{"text": MAIL}]}}},
    "invoke": {"generation": MAIL},
}


@pytest.mark.parametrize("operation", WHOLES)
def test_a_whole_answer_is_masked_in_one_call_or_refused(operation: Any) -> None:
    bedrock = Bedrock()
    (said,) = seen([WHOLES[operation]], call(operation, stream=False), stage(bedrock)).chunks
    assert MAIL not in str(said) and "{EMAIL}" in str(said)
    assert len(bedrock.asked) == 1

    blocked = msgspec.json.decode(msgspec.json.encode(WHOLES[operation]).decode().replace(MAIL, "Project Falcon"))
    assert seen([blocked], call(operation, stream=False), stage(bedrock)) == Seen([], RULE)


PROMPT = {
    "model": msgspec.Raw(b'"ann@example.org"'),
    "messages": msgspec.Raw(
        msgspec.json.encode([
            {"role": "system", "content": "You answer id-1234."},
            {"role": "user", "content": [{"type": "text", "text": f"I am {MAIL}."}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": f'["{MAIL}"]'}}]},
            {"role": "tool", "tool_call_id": "c", "content": "nothing"},
        ])
    ),
}  # fmt: skip


def asked(fields: Any, second: Stage) -> Any:
    return judged(lambda judge: prompts.judged(fields, judge), RULES, second)


def test_a_prompt_is_asked_about_at_once_and_each_text_is_masked_where_it_stands() -> None:
    bedrock = Bedrock("INPUT")
    shown = asked(PROMPT, stage(bedrock))
    assert bedrock.asked == [["You answer id-1234.", f"I am {MAIL}.", "f", f'["{MAIL}"]', "nothing"]]
    assert shown["model"] is PROMPT["model"]
    assert msgspec.json.decode(shown["messages"]) == msgspec.json.decode(
        bytes(PROMPT["messages"]).replace(b"id-1234", b"{badge}").replace(MAIL.encode(), b"ann.o'{EMAIL}")
    )


def test_a_prompt_that_passes_is_the_same_object() -> None:
    fields = {"messages": msgspec.Raw(b'[{"role":"user","content":"hello"}]')}
    assert asked(fields, stage(Bedrock("INPUT"))) is fields


def test_what_is_blocked_is_refused_in_the_tenants_words() -> None:
    with pytest.raises(NotAllowed, match=r"Not here\.") as refused:
        asked({"prompt": msgspec.Raw(b'"rosebud"')}, stage(Bedrock("INPUT")))
    assert refused.value.rule == RULE


def test_no_call_has_more_units_than_bedrock_takes_and_no_prompt_more_than_we_ask_about() -> None:
    texts = [f"{MAIL} {'long ' * size}" for size in (10, 1_000, 4_000, 5_200, 12_000, 1)]
    bedrock = Bedrock("INPUT")
    shown = stage(bedrock).judged(texts)
    assert shown == [text.replace("neill+x@mail.example.org", "{EMAIL}") for text in texts]
    assert max(sum(map(units, each)) for each in bedrock.asked) <= UNITS_AT_ONCE
    with pytest.raises(Refused) as refused:
        stage(bedrock).judged(["x" * 1_000] * (MOST_UNITS + 1))
    assert refused.value.rule == TOO_LONG


def test_blank_texts_are_not_asked_about() -> None:
    bedrock = Bedrock()
    assert stage(bedrock).judged([" ", "a", "\n"]) == [" ", "a", "\n"]
    assert stage(bedrock).judged([""]) == [""]
    assert bedrock.asked == [["a"]]


def test_outputs_that_are_fewer_than_the_texts_are_asked_for_one_by_one() -> None:
    texts: list[Sequence[str]] = []

    def ask(some: Sequence[str]) -> Verdict:
        texts.append(some)
        return Verdict("masked", (f"masked {some[0]}",), ("x",))

    assert Stage(ask, "closed").judged(["a", "b"]) == ["masked a", "masked b"]
    assert texts == [["a", "b"], ["a"], ["b"]]


@every_field
def test_a_closed_stage_that_hears_nothing_ends_the_answer_before_what_was_not_judged(field: Field) -> None:
    text = "all is well " * 200
    second = stage(Bedrock(fails=lambda call: call == 2))
    said, refused = in_chunks(field, cut(text, [5, 900, 1_700]), second)

    assert refused == UNJUDGED
    assert 0 < len(said) <= WINDOW - OVERLAP and text.startswith(said)
    assert second.faults == {"silent": 1}


@every_field
def test_an_open_stage_that_hears_nothing_lets_pass_and_soon_asks_no_more(field: Field) -> None:
    text, bedrock = "rosebud is well " * 400, Bedrock(fails=lambda _: True)
    second = stage(bedrock, "open")

    assert in_chunks(field, cut(text, [5, 900, 1_700]), second) == (text, "")
    assert len(bedrock.asked) == PATIENCE
    assert second.faults == {"silent": PATIENCE}


def test_an_open_stage_judges_again_what_comes_after_a_fault() -> None:
    second = stage(Bedrock(fails=lambda call: call == 1), "open")
    said, refused = in_chunks(FIELDS["content"], ["all is well " * 200 + "rosebud"], second)
    assert refused == RULE and "rosebud" not in said


def test_units_are_counted_as_they_are_billed() -> None:
    second = stage(Bedrock())
    in_chunks(FIELDS["content"], ["all is well " * 150], second)
    assert (second.calls, second.units) == (3, {"topic": 3, "word": 3, "sensitiveInformation": 3})


def test_a_loop_is_told_to_take_elsewhere_whatever_may_wait() -> None:
    judge = SecondJudge(NONE, None, stage(Bedrock()))
    field = FIELDS["content"]
    chunks = [msgspec.json.encode(each) for each in (field.piece("a"), field.piece("b"), *field.end)]
    events: list[Event] = list(Judged(Told(chunks), call(field.operation), judge, lambda _: None, judge.whole))
    lulls = [place for place, event in enumerate(events) if event is Pause.LULL]
    assert [events[place + 1] for place in lulls] == [Pause.LENGTHY] * len(chunks)
    assert events[-2] is Pause.LENGTHY  # what is held back at the end


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"action": "NONE", "outputs": [], "assessments": [{}]}, "passed"),
        ({"action": "GUARDRAIL_INTERVENED", "outputs": [{"text": "no"}], "assessments": [{}]}, "blocked"),
        ({"action": "SOMETHING_NEW"}, "blocked"),
        (
            {
                "action": "GUARDRAIL_INTERVENED",
                "outputs": [{"text": "{AGE}"}],
                "assessments": [
                    {"sensitiveInformationPolicy": {"piiEntities": [{"action": "ANONYMIZED", "match": "7"}]}},
                    {"aPolicyToCome": {"things": [{"action": "BLOCKED"}]}},
                ],
            },
            "blocked",
        ),
    ],
)
def test_whatever_intervenes_and_does_not_only_mask_blocks(said: Any, kind: str) -> None:
    assert verdict(msgspec.json.encode(said)).kind == kind


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"outputs": []}', b'{"action": "NONE"', b"\xff"])
def test_what_is_no_verdict_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unanswered):
        verdict(body)


def test_a_tenant_that_has_only_rules_loads_nothing_of_it() -> None:
    program = (
        "import sys; from chalicelib import wiring; from chalicelib.inference import guarded as _; wiring.path();"
        "print([name for name in sys.modules if name.endswith(('.second', 'guardrails.windows', '.apply_guardrail'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
