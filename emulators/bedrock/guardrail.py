"""Guardrails: rules that control lays down, as ApplyGuardrail and guarded invocations apply them.

Words and denied topics block; sensitive information blocks, or is masked by `{TYPE}`, or `{name}` where a regular
expression found it. A model of language decides at Bedrock; here a topic is met where one of its phrases is said.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec

from emulators.bedrock.refusal import BedrockError

UNIT_CHARACTERS = 1_000
MOST_UNITS = 25
"""Of one ApplyGuardrail: https://docs.aws.amazon.com/general/latest/gr/bedrock.html"""

_UNITS = (
    "topicPolicyUnits",
    "contentPolicyUnits",
    "wordPolicyUnits",
    "sensitiveInformationPolicyUnits",
    "sensitiveInformationPolicyFreeUnits",
    "contextualGroundingPolicyUnits",
)

PII = {
    "EMAIL": r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b",
    "PHONE": r"\+\d[\d -]{7,16}\d|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b",
    "CREDIT_DEBIT_CARD_NUMBER": r"\b\d(?:[ -]?\d){12,18}\b",
    "US_SOCIAL_SECURITY_NUMBER": r"\b\d{3}-\d{2}-\d{4}\b",
    "IP_ADDRESS": r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "URL": r"\bhttps?://\S+\b",
    "AWS_ACCESS_KEY": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
}
"""Those types that a pattern can find. Of what overlaps, the first that is asked for counts."""

PiiType = Literal[
    "EMAIL",
    "PHONE",
    "CREDIT_DEBIT_CARD_NUMBER",
    "US_SOCIAL_SECURITY_NUMBER",
    "IP_ADDRESS",
    "URL",
    "AWS_ACCESS_KEY",
]
Action = Literal["BLOCK", "ANONYMIZE"]
_DONE = {"BLOCK": "BLOCKED", "ANONYMIZE": "ANONYMIZED"}


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Denied: met where one of the phrases is said, in whatever case."""

    name: str
    phrases: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Pii(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: PiiType
    action: Action = "ANONYMIZE"


class Regex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    pattern: str
    action: Action = "ANONYMIZE"

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"the pattern of {self.name} cannot be read: {error}") from None


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that has one of `words` in it, in whatever case, is blocked."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]+$")]
    words: tuple[str, ...] = ()
    topics: tuple[Topic, ...] = ()
    pii: tuple[Pii, ...] = ()
    regexes: tuple[Regex, ...] = ()
    version: Annotated[str, msgspec.Meta(pattern="^([1-9][0-9]{0,7}|DRAFT)$")] = "DRAFT"
    blocked_input: str = "Sorry, the model cannot answer this question."
    blocked_output: str = "Sorry, the model cannot answer this question."

    def judged(self, texts: Sequence[str]) -> "Judgement":
        assessment: dict[str, Any] = {}
        said = "\n".join(texts).lower()
        if words := [word for word in self.words if word.lower() in said]:
            told = [{"match": word, "action": "BLOCKED", "detected": True} for word in words]
            assessment["wordPolicy"] = {"customWords": told, "managedWordLists": []}
        met = [topic.name for topic in self.topics if any(phrase.lower() in said for phrase in topic.phrases)]
        if met:
            told = [{"name": name, "type": "DENY", "action": "BLOCKED", "detected": True} for name in met]
            assessment["topicPolicy"] = {"topics": told}
        found = [list(self._sensitive(text)) for text in texts]
        if any(found):
            told = [each.told for some in found for each in some]
            assessment["sensitiveInformationPolicy"] = {
                "piiEntities": [each for each in told if "type" in each],
                "regexes": [each for each in told if "name" in each],
            }
        blocked = bool(words or met) or any(each.told["action"] == "BLOCKED" for some in found for each in some)
        masked = tuple(_masked(text, some) for text, some in zip(texts, found, strict=True))
        return Judgement(assessment, blocked, masked)

    def _sensitive(self, text: str) -> Iterator["_Sensitive"]:
        """Each place once, in order."""
        kinds: list[tuple[dict[str, Any], str, Action]] = [
            *((dict[str, Any](type=each.type), PII[each.type], each.action) for each in self.pii),
            *(({"name": each.name, "regex": each.pattern}, each.pattern, each.action) for each in self.regexes),
        ]
        places = [
            (match.start(), order, match.end(), kind | {"match": match[0], "action": _DONE[action], "detected": True})
            for order, (kind, pattern, action) in enumerate(kinds)
            for match in re.finditer(pattern, text)
            if match[0]
        ]
        end = 0
        for start, _, ends, told in sorted(places, key=lambda place: place[:2]):
            if start >= end:
                end = ends
                yield _Sensitive(start, ends, told)


class _Sensitive(msgspec.Struct, frozen=True):
    start: int
    end: int
    told: dict[str, Any]


class Judgement(msgspec.Struct, frozen=True):
    """A GuardrailAssessment, empty where nothing was found; `masked` are the texts where nothing blocks them."""

    assessment: dict[str, Any]
    blocked: bool
    masked: tuple[str, ...]


def applied(guardrail: Guardrail, source: str, texts: Sequence[str]) -> dict[str, Any]:
    """The answer of ApplyGuardrail. `source` is INPUT or OUTPUT. Raises BedrockError for texts that are too long."""
    units = sum(-(-len(text) // UNIT_CHARACTERS) for text in texts)
    if units > MOST_UNITS:
        raise BedrockError(
            "ServiceQuotaExceededException",
            f"The content has {units} text units, and may have {MOST_UNITS}. Send less of it at once.",
        )
    policies = {
        "topicPolicyUnits": guardrail.topics,
        "wordPolicyUnits": guardrail.words,
        "sensitiveInformationPolicyUnits": guardrail.pii,
        "sensitiveInformationPolicyFreeUnits": guardrail.regexes,
    }
    answer: dict[str, Any] = {"usage": {name: units if policies.get(name) else 0 for name in _UNITS}}
    judged = guardrail.judged(texts)
    if not judged.assessment:
        return answer | {"action": "NONE", "outputs": [], "assessments": [{}]}
    outputs = judged.masked
    if judged.blocked:
        outputs = (guardrail.blocked_input if source == "INPUT" else guardrail.blocked_output,)
    return answer | {
        "action": "GUARDRAIL_INTERVENED",
        "actionReason": "Guardrail blocked." if judged.blocked else "Guardrail masked.",
        "outputs": [{"text": text} for text in outputs],
        "assessments": [judged.assessment],
    }


def _masked(text: str, found: Sequence[_Sensitive]) -> str:
    for each in reversed(found):
        text = f"{text[: each.start]}{{{each.told.get('type') or each.told['name']}}}{text[each.end :]}"
    return text
