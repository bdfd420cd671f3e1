"""One call: what it may look at is lent to moto, and what it wrote is kept before it is answered."""

import base64
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import msgspec
from moto.core.exceptions import JsonRESTError
from moto.core.request import Request
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from emulators.dynamodb import reach
from emulators.dynamodb.reach import Body, Schema
from emulators.dynamodb.rows import Key, Rows, Span

_LENT_BYTES = 1_100_000
"""DynamoDB reads 1 MB of items for one page; whoever is lent a little more sees that another page follows."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Answer = tuple[int, dict[str, Any], bytes]


class Service:
    """Its calls come one after the other, on one thread: nothing that is proved on this store rests on luck.

    `tables_changed` is called where a table was made, changed or deleted, within what is kept at once.
    """

    def __init__(self, rows: Rows, tables_changed: Callable[[], None] = lambda: None) -> None:
        self._rows = rows
        self._tables_changed = tables_changed

    def answer(self, environ: dict[str, Any], body: bytes) -> Answer:
        """`environ`: the request as WSGI has it; `body`: what it holds."""
        operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        try:
            asked = _decode(body or b"{}")
        except msgspec.DecodeError:
            return _refusal(400, "com.amazon.coral.service#SerializationException", "The body is not a JSON object.")
        handler = DynamoHandler()
        handler.setup_class(Request(environ))
        backend = handler.dynamodb_backend
        loan = _Loan(self._rows, backend)
        try:
            loan.lend(operation, asked)
            if reach.reads(operation):
                status, headers, content = handler.call_action()
            else:
                with self._rows.at_once():
                    status, headers, content = handler.call_action()
                    if status == 200:
                        loan.keep()
                    loan.take_back()
                    if status == 200 and not reach.changes_items_alone(operation):
                        self._tables_changed()
        except Exception as error:
            # A fault of moto's or of ours; without its text, which may quote an item.
            return _refusal(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", type(error).__name__)
        finally:
            loan.take_back()
        return status, headers, content.encode() if isinstance(content, str) else content


class _Loan:
    """The items that moto sees during one call."""

    def __init__(self, rows: Rows, backend: DynamoDBBackend) -> None:
        self._rows = rows
        self._backend = backend
        self._known = set(backend.tables)
        self._single: list[tuple[Table, Key, Body]] = []
        self._whole: set[str] = set()

    def lend(self, operation: str, asked: Body) -> None:
        """What cannot be found is not lent: moto says what is wrong with the request."""
        if operation == "DeleteTable":
            self._whole.add(_name(asked.get("TableName")))
        if not reach.touches_items(operation):
            return None
        table = self._backend.tables.get(_name(asked.get("TableName")))
        try:
            single = reach.single(operation, asked)
            span = reach.span(operation, asked, _schema(table)) if table else None
            if single is not None:
                return self._lend_single(single)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, JsonRESTError):
            return None
        if table and span:
            return self._lend(table, self._rows.span(self._place(table.name), span), _LENT_BYTES)
        for each in [table] if table else self._backend.tables.values():
            self._whole.add(each.name)
            self._lend(each, self._rows.span(self._place(each.name), Span()))
        return None

    def keep(self) -> None:
        """What moto has made of it."""
        for table, key, item in self._single:
            held = table.get_item(*_moto_key(table, item))
            if held is None:
                self._rows.delete(self._place(table.name), key)
            else:
                self._rows.put(self._place(table.name), key, _written(held))
        for name in self._whole | (set(self._backend.tables) - self._known):
            self._rows.drop(self._place(name))
            remade = self._backend.tables.get(name)
            if remade is not None:
                for held in remade.all_items():
                    self._rows.put(self._place(name), _schema(remade).key(held.to_json()["Attributes"]), _written(held))

    def take_back(self) -> None:
        for table in self._backend.tables.values():
            table.items.clear()
        # Moto's own page of what there is lists every item and every copy that was ever made, for ever.
        Item.instances_tracked.clear()  # type: ignore[attr-defined]  # of its metaclass

    def _lend_single(self, named: reach.Single) -> None:
        for name, item in named:
            table = self._backend.tables.get(_name(name))
            if table is None:
                continue
            key = _schema(table).key(item)
            self._single.append((table, key, item))
            row = self._rows.item(self._place(table.name), key)
            if row is not None:
                _put(table, row)

    def _lend(self, table: Table, rows: Iterable[bytes], most_bytes: float = inf) -> None:
        size = 0
        for row in rows:
            # As moto counts it: a row is longer, where its texts are full of quotes twice as long.
            size += _put(table, row).size()
            if size > most_bytes:
                return

    def _place(self, table: str) -> str:
        return f"{self._backend.account_id}/{self._backend.region_name}/{table}"


def _schema(table: Table) -> Schema:
    return Schema(table.hash_key_attr, table.range_key_attr)


def _name(table: object) -> str:
    """Tables go by their ARN, too."""
    return str(table).rpartition("/")[2]


def _moto_key(table: Table, item: Body) -> tuple[DynamoType, DynamoType | None]:
    sort = table.range_key_attr
    return DynamoType(item[table.hash_key_attr]), DynamoType(item[sort]) if sort else None


def _put(table: Table, row: bytes) -> Item:
    item = _decode(row)
    if b'"B' in row:
        item = {name: _with_bytes(value) for name, value in item.items()}
    key, sort = _moto_key(table, item)
    held = Item(key, sort, item)
    if sort is None:
        table.items[key] = held  # type: ignore[assignment]  # as moto does it
    else:
        table.items[key][sort] = held
    return held


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """An attribute as moto's parser of requests has it: JSON has no bytes, and moto no base64."""
    [(kind, held)] = value.items()
    match kind:
        case "B":
            return {kind: base64.b64decode(held)}
        case "BS":
            return {kind: [base64.b64decode(each) for each in held]}
        case "L":
            return {kind: [_with_bytes(each) for each in held]}
        case "M":
            return {kind: {name: _with_bytes(each) for name, each in held.items()}}
    return value


def _written(item: Item) -> bytes:
    return _encode(item.to_json()["Attributes"])


def _refusal(status: int, kind: str, text: str) -> Answer:
    return status, {"content-type": "application/x-amz-json-1.0"}, _encode({"__type": kind, "message": text})
