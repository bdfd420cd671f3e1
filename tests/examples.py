"""How much a test tries that tries a lot: all of it, unless the profile of Hypothesis asks for fewer examples."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hypothesis import settings

T = TypeVar("T")

USUAL = 100  # Hypothesis's own number of examples


def examples(number: int) -> int:
    """So many examples of a property for which the usual number would be too few or too many."""
    return max(1, number * settings().max_examples // USUAL)


def every(cases: Sequence[T], turn: int = 0) -> Sequence[T]:
    """All that one test tries in turn, as the places where something is cut; every tenth for a tenth of the examples.

    Tests with the same cases and a `turn` each, as one for each door, try other tenths, and together all.
    """
    step = max(1, USUAL // settings().max_examples)
    return cases[turn % min(step, len(cases)) :: step]


def in_turn(names: str, cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `pytest.mark.parametrize`, in one test: its fixtures are made once, for all cases together.

    For cases by the hundred that leave nothing behind, as requests that are refused: a test for each would take longer
    to begin and to end than to run. All of them are tried; how many fail is told, and of the first fifteen the case.
    """
    wanted = [name.strip() for name in names.split(",")]
    tried = [case if len(wanted) > 1 else (case,) for case in cases]
    assert tried, f"there is no case of {names}"

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_of_them(**fixtures: Any) -> None:
            wrong = []
            for case in tried:
                try:
                    test(**fixtures, **dict(zip(wanted, case, strict=True)))
                except Exception as error:
                    error.add_note(f"{names}: {', '.join(map(_called, case))}")
                    wrong.append(error)
            if wrong:
                raise ExceptionGroup(f"{len(wrong)} of {len(tried)} cases of {names}", wrong)

        asked = inspect.signature(test)
        kept = [parameter for name, parameter in asked.parameters.items() if name not in wanted]
        vars(all_of_them)["__signature__"] = asked.replace(parameters=kept)
        return all_of_them

    return decorated


def _called(value: object) -> str:
    return str(getattr(value, "name", None) or getattr(value, "__name__", None) or repr(value)[:200])
