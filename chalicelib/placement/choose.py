"""Which targets may run a call, in the order in which they are tried. Pure."""

from collections.abc import Callable, Sequence

from chalicelib.pool import Target


def candidates(
    targets: Sequence[Target], *, pin: str | None, admits: Callable[[Target], bool], draw: float
) -> tuple[Target, ...]:
    """The first by weight, then the others in list order; those whose breaker is open are left out.

    `draw` in [0, 1) decides the first among the targets with a weight; if none has one, list order does.
    `pin` names the only target that may run the call (dedicated capacity, residency): never another,
    not even when it is down.
    """
    if pin is not None:
        return tuple(target for target in targets if target.name == pin and admits(target))
    able = [target for target in targets if admits(target)]
    first = _drawn(able, draw)
    if first is None:
        return tuple(able)
    return (able[first], *able[:first], *able[first + 1 :])


def _drawn(targets: Sequence[Target], draw: float) -> int | None:
    total = sum(target.weight for target in targets)
    point = draw * total
    for index, target in enumerate(targets):
        if point < target.weight:
            return index
        point -= target.weight
    return None
