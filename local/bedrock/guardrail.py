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

    def blocks(self, *texts: str) -> bool:
        return bool(self.found(*texts))

    def found(self, *texts: str) -> list[str]:
        said = "\n".join(texts).lower()
        return [word for word in self.words if word.lower() in said]

    def assessment(self, *texts: str) -> dict[str, Any]:
        """A GuardrailAssessment; empty where nothing was found."""
        words = [{"match": word, "action": "BLOCKED", "detected": True} for word in self.found(*texts)]
        return {"wordPolicy": {"customWords": words, "managedWordLists": []}} if words else {}


def applied(guardrail: Guardrail, source: str, texts: list[str]) -> dict[str, Any]:
    """The answer of ApplyGuardrail. `source` is INPUT or OUTPUT."""
    units = dict.fromkeys(_UNITS, 0) | {"wordPolicyUnits": sum(-(-len(text) // _UNIT_CHARACTERS) for text in texts)}
    if not guardrail.blocks(*texts):
        return {"usage": units, "action": "NONE", "outputs": [], "assessments": [{}]}
    return {
        "usage": units,
        "action": "GUARDRAIL_INTERVENED",
        "actionReason": "Guardrail blocked.",
        "outputs": [{"text": guardrail.blocked_input if source == "INPUT" else guardrail.blocked_output}],
        "assessments": [guardrail.assessment(*texts)],
    }
