"""What one request may ask of an engine: work that nobody can cancel is bounded before it starts.

    counts     members, messages, tools, depth and values of a body    exceeded   the one thing that is raised
    circles    schemas that hold themselves                            recursion  grammars' rules that do so
    schemas    what a JSON schema makes an engine build                sizes      how an expression grows, as a value
    patterns   the size of a regular expression                        grammars   the size of a GBNF grammar
    sampling   what is kept or walked through for each token           rules      those of a grammar, laid out
    forms      how engines read a grammar: GBNF, or Lark in two ways   lark       a grammar in Lark, as GBNF

The gateway looks before anything is reserved, and the container before its model does: requests reach it from others,
too, and sealed ones are read there first. Pure; shared as `sealed` is, and by Lambda found in `vendor/`.

An engine reads a body and turns schemas, patterns and grammars into tables in one go, while all its callers wait, in a
time that may grow with the third power of what is asked, or faster; and it goes on for one who has left. The bounds are
far above what programs send, and below what keeps llama.cpp for a second (docs/container.md has the figures).
"""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from bounds import counts, sampling
from bounds.exceeded import Exceeded

__all__ = ["Exceeded", "must_hold"]

BUILT = frozenset(
    (
        *("response_format", "tools", "functions"),  # OpenAI's
        *("text", "output_format", "output_config"),  # Responses', Anthropic's
        *("toolConfig", "outputConfig"),  # Converse's
        *("json_schema", "grammar"),  # llama.cpp's
        *("guided_json", "guided_regex", "guided_grammar", "guided_choice", "structured_outputs"),  # vLLM's
        *("regex", "ebnf", "guidance"),  # SGLang's, TGI's
    )
)
"""Members of a body that engines build something from."""


_MOST_HELD = 512
_held: set[bytes] = set()  # digests of what was within the bounds: an agent sends the same tools each time


def must_hold(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raises Exceeded, if the members of this body hold more than an engine shall be asked to work through."""
    sampling.must_hold(fields)
    built = BUILT.intersection(fields)
    if not built:
        counts.must_hold(fields)
        return
    from bounds import schemas  # most requests ask for nothing to be built

    digests = {name: sha256(name.encode() + bytes(fields[name])).digest() for name in built}
    fresh = {name for name, digest in digests.items() if digest not in _held}
    counts.must_hold({name: raw for name, raw in fields.items() if name in fresh or name not in built})
    for name in fresh:
        schemas.must_hold(name, fields[name])
    if len(_held) > _MOST_HELD:
        _held.clear()
    _held.update(digests[name] for name in fresh)
