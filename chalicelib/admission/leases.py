"""How a lease is written in its meter: some 14 bytes beside its id.

    "01fp7x...": "0.1xg0.1jk.jg"

    0      the set of budgets that it was admitted under (sets.py)
    1xg0   it expires so many milliseconds after its admission
    1jk    tokens that it reserves; after them micro-dollars, GPU milliseconds and requests

Numbers are in base 36, an amount is empty where it is none, and left out at the end. The instant of the admission is
that of the lease's id, and the windows are those of that instant. What is not so follows after a bar, and is rare:
`|@<instant>`, `|month.tm=2026-12`.

Before, a lease was a map, {x: expires, a: admitted, b: {budget key: units, or [window, units]}}, 60 bytes and more.
Those are read and released until the last has ended, and not written any more.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from chalicelib.admission import budgets
from chalicelib.admission.limits import Unit
from chalicelib.admission.meter import Held
from chalicelib.ledger.lease_id import instant_of

_ORDER: Final[tuple[Unit, ...]] = ("tokens", "micro_usd", "gpu_ms", "requests")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Sets = Mapping[str, tuple[str, ...]]
"""Name -> the budget keys of one tenant's limits, in their order."""


class Leases(Mapping[str, Held]):
    """The leases of a meter, read one by one: most readers only want to know how many there are, or of one."""

    def __init__(self, held: Mapping[str, dict[str, Any]], plain: Mapping[str, dict[str, Any]], sets: Sets) -> None:
        """`held` and `plain` as DynamoDB has them: in our writing, and in the one before."""
        self._held = held
        self._plain = plain
        self._sets = sets

    def __getitem__(self, lease_id: str) -> Held:
        found = self._held.get(lease_id)
        return _plain(self._plain[lease_id]["M"]) if found is None else read(lease_id, found["S"], self._sets)

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._held or lease_id in self._plain

    def __iter__(self) -> Iterator[str]:
        yield from self._held
        yield from self._plain

    def __len__(self) -> int:
        return len(self._held) + len(self._plain)


def written(lease_id: str, held: Held) -> str:
    """Its text. Of one unit it reserves the same amount in each window, as every admission does."""
    amounts: dict[Unit, str] = {}
    remarks = "" if instant_of(lease_id) == held.admitted_ms else f"|@{base36(held.admitted_ms)}"
    for key, (window, units) in held.windows.items():
        amounts[budgets.unit_of(key)] = base36(units)
        if window != budgets.window_id(budgets.kind_of(key), held.admitted_ms):
            remarks += f"|{key}={window}"
    fields = [held.budget_set, base36(held.expires_ms - held.admitted_ms), *[amounts.get(unit, "") for unit in _ORDER]]
    return ".".join(fields).rstrip(".") + remarks


def read(lease_id: str, text: str, sets: Sets) -> Held:
    """The lease that `written` wrote."""
    fields, *remarks = text.split("|")
    budget_set, lasts, *amounts = fields.split(".")
    units = {unit: int(amount, 36) for unit, amount in zip(_ORDER, amounts, strict=False) if amount}
    admitted_ms = instant_of(lease_id) or 0
    elsewhere: dict[str, str] = {}
    for remark in remarks:
        if remark.startswith("@"):
            admitted_ms = int(remark[1:], 36)
        else:
            key, _, window = remark.partition("=")
            elsewhere[key] = window
    windows = {
        key: (elsewhere.get(key) or budgets.window_id(budgets.kind_of(key), admitted_ms), units[budgets.unit_of(key)])
        for key in sets[budget_set]
        if budgets.unit_of(key) in units
    }
    return Held(admitted_ms + int(lasts, 36), admitted_ms, windows, budget_set)


def _plain(item: dict[str, dict[str, Any]]) -> Held:
    admitted_ms = int(item["a"]["N"])
    windows = {}
    for key, amount in item["b"]["M"].items():
        if "N" in amount:
            windows[key] = (budgets.window_id(budgets.kind_of(key), admitted_ms), int(amount["N"]))
        else:
            windows[key] = (amount["L"][0]["S"], int(amount["L"][1]["N"]))
    return Held(int(item["x"]["N"]), admitted_ms, windows)


@lru_cache(maxsize=4096)
def base36(number: int) -> str:
    """Of a number from 0; `int(text, 36)` reads it."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
