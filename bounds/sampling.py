"""Members by which an engine samples, stops and reports: what it keeps room for, or walks through for each token.

The names are OpenAI's and those that llama.cpp and vLLM add. llama.cpp reserves as many tokens of memory as
`repeat_last_n` says, at once; it compares each of `dry_sequence_breakers` with its whole vocabulary; it runs each of
`samplers`, and looks for each of `stop`, once for each token of the answer.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bounds.exceeded import Exceeded

NUMBERS: Final[Mapping[str, int]] = {
    # Tokens to look back on: as many as the largest windows have.
    **dict.fromkeys(("repeat_last_n", "penalty_last_n", "dry_penalty_last_n"), 1_048_576),
    # Alternatives for each token, of which OpenAI gives 20; each of them is held and written.
    **dict.fromkeys(("n_probs", "logprobs", "top_logprobs", "prompt_logprobs"), 128),
    # Answers, of which OpenAI gives 128.
    **dict.fromkeys(("n", "n_cmpl", "best_of"), 128),
}
"""Member -> the largest number that it may be; of those below zero too, which become others where they overflow."""

LENGTHS: Final[Mapping[str, int]] = {
    "dry_sequence_breakers": 16,  # llama.cpp's own are 4; 16 take it a second with a vocabulary of 150,000
    "samplers": 64,  # it has a dozen; a text is one for each letter
    **dict.fromkeys(("stop", "stop_sequences", "bad_words"), 1_024),
    "logit_bias": 2_048,  # as many as an object may have members
}
"""Member -> how many entries a list there may have."""

_NAMES = NUMBERS.keys() | LENGTHS.keys()


def must_hold(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raises Exceeded."""
    for name in _NAMES & fields.keys():
        value = msgspec.json.decode(fields[name])
        if name in NUMBERS:
            if isinstance(value, int | float) and abs(value) > NUMBERS[name]:
                raise Exceeded(name, f"`{name}` is {value}; {NUMBERS[name]:,} is the most. Ask for less.")
        elif (held := _entries(name, value)) > LENGTHS[name]:
            raise Exceeded(name, f"`{name}` has {held:,} entries; {LENGTHS[name]:,} are the most. Send fewer.")


def _entries(name: str, value: object) -> int:
    return len(value) if isinstance(value, list) or (name == "samplers" and isinstance(value, str)) else 0
