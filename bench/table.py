"""Figures of several contestants as one Markdown table, with the ratio to ours on each row; and the line above it."""

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    key: str
    title: str
    unit: str
    more_is_better: bool = False
    compared: bool = True  # False: a count that has no ratio


def when_and_where() -> str:
    """Now, and this machine, for the line above a table."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores"


def how_busy(alone: float) -> str:
    """How busy the machine was, beside how busy the bench `alone` makes it."""
    return f"load average over the last minutes {os.getloadavg()[1]:.1f} (about {alone:g} is the bench alone)"


def print_table(rows: Sequence[Row], figures: Mapping[str, Mapping[str, float]], *, ours: str) -> None:
    """One column per contestant, ours last, and for each other one how many times better we are (`x`)."""
    others = [name for name in figures if name != ours]
    names = others + [ours] * (ours in figures)
    ratios = [f"{name} / {ours}" for name in others] if ours in figures else []
    lines = [["", "unit", *names, *ratios]]
    for row in rows:
        cells = [row.title, row.unit, *(shown(figures[name][row.key]) for name in names)]
        if ratios:
            cells += [_ratio(row, figures[name][row.key], figures[ours][row.key]) for name in others]
        lines.append(cells)
    print_lines(lines)


def print_lines(lines: Sequence[Sequence[str]]) -> None:
    """The first one is the head; only the first column is words."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for line in (lines[0], rule, *lines[1:]):
        first, *rest = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("| " + " | ".join([first, *rest]) + " |")


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(row: Row, theirs: float, ours: float) -> str:
    """How many times better we are: over 1 means ahead."""
    if not row.compared:
        return ""
    above, below = (ours, theirs) if row.more_is_better else (theirs, ours)
    return f"{above / below:.1f}x" if below > 0 else "-"
