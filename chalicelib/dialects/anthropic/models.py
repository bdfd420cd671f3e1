"""Pools as Anthropic lists models (https://docs.claude.com/en/api/models-list)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from chalicelib.pool import Pool
from chalicelib.refusal import Malformed

Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class ModelsQuery(msgspec.Struct, frozen=True):
    """Which page: the one after a model, the one before it, or the first."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 20
    after_id: Cursor | None = None
    before_id: Cursor | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    """A model, as Anthropic has it."""

    id: str
    display_name: str
    created_at: str
    max_tokens: int
    lifecycle: Literal["active"] = "active"
    type: Literal["model"] = "model"


class ModelPage(msgspec.Struct, frozen=True):
    """`has_more`: in the direction that was asked for."""

    data: list[ModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None


def model_info(name: str, pool: Pool) -> ModelInfo:
    """The pool, by the name that it is asked for."""
    created = datetime.fromtimestamp(pool.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ModelInfo(name, name, created, pool.max_tokens)


def model_page(pools: Sequence[tuple[str, Pool]], query: ModelsQuery) -> ModelPage:
    """Of all names with their pools, in their order. Raises Malformed: for a cursor that is none of them, for two."""
    if query.after_id is not None and query.before_id is not None:
        raise Malformed("Send either after_id or before_id.", field="before_id")
    names = [name for name, _ in pools]
    if query.before_id is not None:
        end = _place(names, query.before_id, "before_id")
        begin = max(0, end - query.limit)
        has_more = begin > 0
    else:
        begin = 0 if query.after_id is None else _place(names, query.after_id, "after_id") + 1
        end = begin + query.limit
        has_more = end < len(names)
    data = [model_info(*each) for each in pools[begin:end]]
    return ModelPage(data, has_more, data[0].id if data else None, data[-1].id if data else None)


def _place(names: Sequence[str], name: str, field: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        raise Malformed(f"{field} is no model of this list. Begin anew, without it.", field=field) from None
