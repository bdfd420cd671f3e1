"""The book's write: what it learns, takes up and grants. Pure. Whoever makes it may have old copies of everything.

It is conditional on the book's version, so of two that are made from one copy the second loses. What is changed here
keeps its version: the write counts it.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from chalicelib.admission import budgets, rates
from chalicelib.admission.leases import base36
from chalicelib.admission.limits import Limits
from chalicelib.admission.meter import Meter
from chalicelib.admission.rates import SLACK_US, US_PER_MS
from chalicelib.admission.shares import arithmetic
from chalicelib.admission.shares.arithmetic import MARGIN_US, MILLI
from chalicelib.admission.shares.book import Amounts, Book, Holder, Shard

Wishes = Mapping[int, Amounts]
"""Shard's number -> what is wished for it; it is cut to what nobody holds."""


def opened(before: Book | None, limits: Limits, limits_version: int, meter: Meter, now_ms: int) -> Book:
    """The book with which a tenant's one meter becomes shard 0, which then holds everything.

    It holds more than there is where more is in use, because limits were lowered. All ids are new: what shards of an
    earlier life hold is nobody's.
    """
    first = before.next_id if before else 1
    names = list(arithmetic.keys(limits))
    ids = {name: base36(first + place) for place, name in enumerate(names)}
    return Book(
        version=before.version if before else 0,
        epoch=max(meter.epoch, before.epoch if before else 0) + 1,
        limits=limits,
        limits_version=limits_version,
        ids=ids,
        next_id=first + len(names),
        windows={},
        holders=(Holder(granted=_at_least(arithmetic.components(limits, ids), limits, ids, meter, now_ms)),),
    )


def _at_least(whole: Amounts, limits: Limits, ids: Mapping[str, str], meter: Meter, now_ms: int) -> Amounts:
    """What a meter has to hold that has all of these, and may be using more."""
    used = {arithmetic.units_of(ids[arithmetic.PLACES]): len(meter.leases)}
    for rate in limits.rates:
        key = rates.key(rate)
        if key in meter.tats:
            level = arithmetic.level_milli(rate, rate.count * MILLI, meter.tats[key] + MARGIN_US, now_ms * US_PER_MS)
            used[arithmetic.burst_of(ids[key])] = -(-level // MILLI)
    for budget in limits.budgets:
        key = budgets.key(budget)
        if budget.hard and key in meter.windows:
            used[arithmetic.units_of(ids[key])] = meter.windows[key][1]
    return {component: max(amount, used.get(component, 0)) for component, amount in whole.items()}


def learned(book: Book, seen: Iterable[Shard]) -> Book:
    """What came back, as the shards say."""
    holders, windows = list(book.holders), dict(book.windows)
    names = {name: key for key, name in book.ids.items()}
    for shard in seen:
        if not shard.divided or shard.number >= len(holders):
            continue
        holder = holders[shard.number]
        returned = dict(holder.returned)
        for component, amount in shard.returned.items():
            name = arithmetic.limit_of(component)
            if name not in names or amount <= returned.get(component, 0):
                continue
            returned[component] = amount
            window = shard.meter.windows.get(names[name])
            if window is not None:
                # The room came out of this window: who gets it must not be in an earlier one.
                windows[name] = max(windows.get(name, ""), window[0])
        holders[shard.number] = msgspec.structs.replace(holder, returned=returned)
    return msgspec.structs.replace(book, holders=tuple(holders), windows=windows)


def forgotten(book: Book, seen: Iterable[Shard], now_ms: int) -> Book:
    """Without the limits that were, and of which no shard has anything that still counts."""
    gone = _meaningless(book, tuple(seen), now_ms)
    if not gone:
        return book
    ids = {key: name for key, name in book.ids.items() if key not in gone}
    kept = set(ids.values())
    return msgspec.structs.replace(
        book,
        ids=ids,
        windows={name: window for name, window in book.windows.items() if name in kept},
        holders=tuple(_without(holder, kept) for holder in book.holders),
    )


def changed(book: Book, first: Shard, limits: Limits, limits_version: int, now_ms: int) -> Book:
    """Another epoch, and the limits of this document's version, unless the book has later ones; by a look at shard 0.

    A rate that is new to the book is granted to shard 0, where one may still find what was used of it while the tenant
    had one meter; a budget when it is known what was used of it anywhere, while it was soft.
    """
    bumped = msgspec.structs.replace(book, epoch=book.epoch + 1)
    if limits_version <= book.limits_version:
        return bumped
    ids, next_id = dict(book.ids), book.next_id
    new = {}
    were, are_budgets = set(arithmetic.keys(book.limits)), set(map(budgets.key, limits.budgets))
    for key in arithmetic.keys(limits):
        # A budget that was soft meanwhile, or was not there, may have been used beyond any share.
        if key not in ids or (key in are_budgets and key not in were):
            ids[key] = new[key] = base36(next_id)
            next_id += 1
    kept = set(ids.values())
    holders = [_without(each, kept) for each in book.holders]
    known = set(book.ids.values())
    uncounted = tuple(new[key] for key in map(budgets.key, limits.budgets) if key in new)
    whole = _at_least(arithmetic.components(limits, ids), limits, ids, first.meter, now_ms)
    granted = {
        component: amount
        for component, amount in whole.items()
        if arithmetic.limit_of(component) not in known.union(uncounted)
    }
    holders[0] = msgspec.structs.replace(holders[0], granted={**holders[0].granted, **granted})
    return msgspec.structs.replace(
        bumped,
        limits=limits,
        limits_version=limits_version,
        ids=ids,
        next_id=next_id,
        holders=tuple(holders),
        uncounted=(*book.uncounted, *uncounted),
    )


def counted(book: Book, seen: Collection[Shard]) -> Book:
    """Each shard is granted what it has used already of a budget that is new to the book.

    Nobody adds to that, once every shard was seen at the book's epoch: none of them has a share of it.
    """
    if not book.uncounted or not _all_there(book, seen):
        return book
    keys = {name: key for key, name in book.ids.items()}
    holders, windows = list(book.holders), dict(book.windows)
    for name in book.uncounted:
        if name not in keys:
            continue
        found = {shard.number: shard.meter.windows.get(keys[name], ("", 0)) for shard in seen}
        window = max(its for its, _ in found.values())
        if window:
            windows[name] = window
        for number, (its, used) in found.items():
            if its == window and used:
                granted = {**holders[number].granted, arithmetic.units_of(name): used}
                holders[number] = msgspec.structs.replace(holders[number], granted=granted)
    return msgspec.structs.replace(book, holders=tuple(holders), windows=windows, uncounted=())


def arranged(book: Book, shards: int) -> Book:
    """So many shards: those that are too many are to give all back. Number 0 always stays."""
    holders = list(book.holders) + [Holder()] * (shards - len(book.holders))
    return msgspec.structs.replace(
        book,
        holders=tuple(
            msgspec.structs.replace(holder, retiring=number >= shards) for number, holder in enumerate(holders)
        ),
    )


def granted(book: Book, wishes: Wishes) -> Book:
    """Of what nobody holds, as much as there is."""
    left, holders = book.pool(), list(book.holders)
    for number, wish in wishes.items():
        holder = holders[number]
        if holder.retiring:
            continue
        amounts = dict(holder.granted)
        for component, amount in wish.items():
            part = min(amount, left.get(component, 0))
            if part > 0 and arithmetic.limit_of(component) not in book.uncounted:
                amounts[component] = amounts.get(component, 0) + part
                left[component] -= part
        holders[number] = msgspec.structs.replace(holder, granted=amounts)
    return msgspec.structs.replace(book, holders=tuple(holders))


def closed(book: Book, seen: Collection[Shard], now_ms: int) -> Book | None:
    """The book of a tenant that is to have one meter again; None while anything is held or still counts elsewhere."""
    if any(book.pool().values()) or not _all_there(book, seen):
        return None
    others = [shard for shard in seen if shard.number]
    if any(_counts(key, shard, now_ms) for shard in others for key in (*shard.meter.tats, *shard.meter.windows)):
        return None
    if any(holder.outstanding(name) for holder in book.holders[1:] for name in holder.granted):
        return None
    return msgspec.structs.replace(book, epoch=book.epoch + 1, closed=True)


def _meaningless(book: Book, seen: tuple[Shard, ...], now_ms: int) -> set[str]:
    """Names of limits that were, and of which no shard has anything that still counts.

    It is certain only where every shard was seen at the book's epoch: nobody adds to them under that one.
    """
    if not _all_there(book, seen):
        return set()
    named = set(arithmetic.keys(book.limits))
    return {key for key in book.ids if key not in named and not any(_counts(key, shard, now_ms) for shard in seen)}


def _all_there(book: Book, seen: Iterable[Shard]) -> bool:
    """Whether every shard was seen at the book's epoch."""
    return {shard.number for shard in seen if shard.epoch == book.epoch and shard.divided} == set(
        range(len(book.holders))
    )


def _counts(key: str, shard: Shard, now_ms: int) -> bool:
    tat_us, window = shard.meter.tats.get(key), shard.meter.windows.get(key)
    if tat_us is not None:
        return tat_us >= now_ms * US_PER_MS - SLACK_US
    return window is not None and window[1] > 0 and window[0] >= budgets.window_id(budgets.kind_of(key), now_ms)


def _without(holder: Holder, kept: set[str]) -> Holder:
    return msgspec.structs.replace(
        holder,
        granted={name: amount for name, amount in holder.granted.items() if arithmetic.limit_of(name) in kept},
        returned={name: amount for name, amount in holder.returned.items() if arithmetic.limit_of(name) in kept},
    )
