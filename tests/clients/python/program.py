"""How a program is asked: a line of JSON in, a line of JSON out, until nobody asks any more."""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Ask(NamedTuple):
    """One question, as a caller has it at hand."""

    url: str  # of the tenant
    api_key: str
    model: str
    question: str
    most_tokens: int
    door: str  # of those that the client has: `chat`, `messages`, `responses`


Said = dict[str, Any]
Function = Callable[[Ask], Said]


def serve(*functions: Function, error: Callable[[Any], Said]) -> None:
    """Each function is asked by its name; of what it raises, `error` tells what the package makes of it."""
    by_name = {function.__name__: function for function in functions}
    out, sys.stdout = sys.stdout, sys.stderr  # whatever packages print is no answer
    for line in sys.stdin:
        wanted = json.loads(line)
        function = by_name[wanted.pop("function")]
        try:
            said = function(Ask(**wanted))
        except Exception as raised:
            said = {"error": described(raised, error)}
        print(json.dumps(said), file=out, flush=True)


def described(raised: Exception, error: Callable[[Any], Said]) -> Said:
    said = {"type": type(raised).__name__, "text": str(raised)}
    try:
        return {**said, **error(raised)}
    except AttributeError:  # it is no error of the package's
        return said


def weather(city: str) -> str:
    """The weather of a city: the tool that models are given."""
    return {"Bern": "rain", "Basel": "sun"}[city]
