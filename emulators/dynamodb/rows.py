"""Items in SQLite, in the order of their keys, and what else the cloud keeps beside them.

What is committed survives the end of the process, however it ends: with a write-ahead log a commit is a write to the
operating system, which needs nobody to live on. `synchronous=NORMAL` waits for the disk only where the log is folded
into the file, so that a machine that loses its power may lose the last moments, and never what came before them.

https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (place TEXT, pk BLOB, sk BLOB, item BLOB, PRIMARY KEY (place, pk, sk));
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB);
"""

Key = tuple[bytes, bytes]
"""Partition key and sort key, ordered; the latter empty where the table has none."""


class Span(msgspec.Struct, frozen=True):
    """A stretch of a table, from a key to a key, in either direction; `most` rows of it, or as many as there are."""

    first: Key | None = None
    last: Key | None = None
    after: Key | None = None  # only what comes behind it, in the direction of reading
    backward: bool = False
    most: int | None = None


class Rows:
    """One thread at a time. Without a path, a file that nobody else sees and that is gone when this is closed."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.touch(mode=0o600)  # before SQLite does: secrets are in it; what SQLite puts beside it is made alike
        self._connection = sqlite3.connect(path or "", isolation_level=None, check_same_thread=False)
        self._do = self._connection.execute
        self._do("PRAGMA journal_mode=WAL")
        self._do("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is written in it, or nothing."""
        self._do("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._do("ROLLBACK")
            raise
        self._do("COMMIT")

    def item(self, place: str, key: Key) -> bytes | None:
        row = self._do("SELECT item FROM items WHERE place = ? AND pk = ? AND sk = ?", (place, *key)).fetchone()
        return row[0] if row else None

    def span(self, place: str, span: Span) -> Iterator[bytes]:
        clauses, values = ["place = ?"], [place]
        for clause, key in (
            ("(pk, sk) >= (?, ?)", span.first),
            ("(pk, sk) <= (?, ?)", span.last),
            ("(pk, sk) < (?, ?)" if span.backward else "(pk, sk) > (?, ?)", span.after),
        ):
            if key is not None:
                clauses.append(clause)
                values += key  # type: ignore[arg-type]
        way = "DESC" if span.backward else "ASC"
        found = self._do(
            f"SELECT item FROM items WHERE {' AND '.join(clauses)} ORDER BY pk {way}, sk {way} LIMIT ?",
            (*values, -1 if span.most is None else span.most),
        )
        return (row[0] for row in found)

    def put(self, place: str, key: Key, item: bytes) -> None:
        self._do("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", (place, *key, item))

    def delete(self, place: str, key: Key) -> None:
        self._do("DELETE FROM items WHERE place = ? AND pk = ? AND sk = ?", (place, *key))

    def drop(self, place: str) -> None:
        self._do("DELETE FROM items WHERE place = ?", (place,))

    def kept(self, name: str) -> bytes | None:
        """What was kept under this name beside the items."""
        row = self._do("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def keep(self, name: str, value: bytes) -> None:
        self._do("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def close(self) -> None:
        self._connection.close()
