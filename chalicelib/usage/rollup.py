"""A bucket's groups as they are kept: the same groups are the same bytes, whenever and by whomever they are written."""

from collections.abc import Iterable, Iterator

import msgspec

from chalicelib.usage.group import Group
from chalicelib.usage.tally import Groups, Tally
from chalicelib.usage.times import DAY_MS, LONG_MS, Span

MOST_BYTES = 300_000
"""Of a part: DynamoDB's items have 400 KB at most, and one group is far less than the difference."""

KEPT_MS = 400 * DAY_MS
"""From a bucket's end on: a month can be held beside the same one of the year before."""

_Row = tuple[Group, Tally]
_decode = msgspec.json.Decoder(list[_Row]).decode
_encode = msgspec.json.Encoder().encode


class Part(msgspec.Struct, frozen=True):
    """A piece of one bucket's roll-up, small enough for an item."""

    tenant: str
    span: Span
    start_ms: int
    number: int  # from 0
    parts: int  # that the bucket has
    requests: int  # of the whole bucket: of two roll-ups, the one with more has seen more of the ledger
    text: str

    @property
    def end_ms(self) -> int:
        return self.start_ms + LONG_MS[self.span]

    @property
    def expires_s(self) -> int:
        return (self.end_ms + KEPT_MS) // 1_000

    @property
    def groups(self) -> dict[Group, Tally]:
        return dict(_decode(self.text))


def parted(tenant: str, span: Span, start_ms: int, groups: Groups) -> list[Part]:
    """The bucket's parts, in order; none of no groups."""
    texts = list(_texts(_encode((group, groups[group].in_order())) for group in sorted(groups)))
    requests = sum(tally.requests for tally in groups.values())
    return [Part(tenant, span, start_ms, number, len(texts), requests, text) for number, text in enumerate(texts)]


def whole(parts: list[Part]) -> bool:
    """Whether these are all of one bucket's, of one count. Where not, they are being written, or their writer died."""
    first = parts[0]
    return len(parts) == first.parts and all(
        (part.parts, part.requests, part.number) == (first.parts, first.requests, number)
        for number, part in enumerate(parts)
    )


def _texts(rows: Iterable[bytes]) -> Iterator[str]:
    held: list[bytes] = []
    size = 0
    for row in rows:
        if held and size + len(row) > MOST_BYTES:
            yield _text(held)
            held, size = [], 0
        held.append(row)
        size += len(row) + 1
    if held:
        yield _text(held)


def _text(rows: list[bytes]) -> str:
    return (b"[" + b",".join(rows) + b"]").decode()
