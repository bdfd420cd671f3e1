"""CSV, as a file that streams: RFC 4180, and no cell that a spreadsheet would take for a formula."""

import csv
import io
from collections.abc import Iterator, Sequence

from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.inference.answer import Loop
from chalicelib.refusal import Malformed

MOST_ROWS = 15_000
"""Of one CSV: Lambda answers with 6 MB at most."""

Cell = str | int | bool | None

# What spreadsheets take for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


CSV = {"text/csv": "The same, as a file with a line for each, by `format=csv`"}
"""What such a door has besides, as `other_forms`."""


def must_have_no_pages(asked: Incoming) -> None:
    """Raises Malformed where a CSV is asked for by pages."""
    if "limit" in asked.query:
        raise Malformed(f"A CSV has no pages: leave out `limit`. It ends after {MOST_ROWS:,} rows.", field="limit")


def as_file(name: str, columns: Sequence[str], pieces: Iterator[bytes]) -> Reply:
    """The answer: a line of columns, and then the pieces, of which the first is read at once.

    So what is refused is refused with a status.
    """
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{name}.csv"',
        "Cache-Control": "no-store",
    }
    return Reply(_Pieces(row(columns) + next(pieces, b""), pieces), headers)


def row(cells: Sequence[Cell]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([_text(cell) for cell in cells])
    return line.getvalue().encode()


class _Pieces:
    """The body of a CSV."""

    def __init__(self, first: bytes, others: Iterator[bytes]) -> None:
        self._first = first
        self._others = others

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._others

    def polled(self, _: Loop) -> None:
        """See Body.polled. The store is read on the way."""

    def close(self) -> None:
        """Nothing is held."""


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    text = "" if cell is None else str(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(_FORMULA) else text
