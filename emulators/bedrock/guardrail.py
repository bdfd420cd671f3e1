"""Guardrails: rules that control lays down, as ApplyGuardrail and guarded invocations apply them."""

from typing import Any

import msgspec

_UNITS = (
    "topicPolicyUnits",
    "contentPolicyUnits",
    "wordPolicyUnits",
    "sensitiveInformationPolicyUnits",
    "sensitiveInformationPolicyFreeUnits",
    "contextualGroundingPolicyUnits",
)
_UNIT_CHARACTERS = 1_000


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word filter: a text that has one of `words` in it, in whatever case, is blocked."""

    id: str
    words: tuple[str, ...]
    version: str = "DRAFT"
    blocked_input: str = "Sorry, the model cannot answer this question."
    blocked_output: str = "Sorry, the model cannot answer this question."

    def assessment(self, *texts: str) -> dict[str, Any]:
        """A GuardrailAssessment; empty where nothing was found, which is not blocked."""
        said = "\n".join(texts).lower()
        found = [word for word in self.words if word.lower() in said]
        words = [{"match": word, "action": "BLOCKED", "detected": True} for word in found]
        return {"wordPolicy": {"customWords": words, "managedWordLists": []}} if words else {}


def applied(guardrail: Guardrail, source: str, texts: list[str]) -> dict[str, Any]:
    """The answer of ApplyGuardrail. `source` is INPUT or OUTPUT."""
    units = dict.fromkeys(_UNITS, 0) | {"wordPolicyUnits": sum(-(-len(text) // _UNIT_CHARACTERS) for text in texts)}
    found = guardrail.assessment(*texts)
    if not found:
        return {"usage": units, "action": "NONE", "outputs": [], "assessments": [{}]}
    return {
        "usage": units,
        "action": "GUARDRAIL_INTERVENED",
        "actionReason": "Guardrail blocked.",
        "outputs": [{"text": guardrail.blocked_input if source == "INPUT" else guardrail.blocked_output}],
        "assessments": [found],
    }
