"""Anthropic's pages of models: whichever way one turns them, each model is seen once, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects.anthropic.models import ModelInfo, ModelPage, ModelsQuery, model_info, model_page
from chalicelib.pool import Pool
from chalicelib.refusal import Malformed

FIVE = [(name, Pool(name, ())) for name in "abcde"]


@pytest.mark.parametrize(
    ("query", "page", "has_more"),
    [
        (ModelsQuery(), "abcde", False),
        (ModelsQuery(limit=5), "abcde", False),
        (ModelsQuery(limit=2), "ab", True),
        (ModelsQuery(limit=2, after_id="b"), "cd", True),
        (ModelsQuery(limit=2, after_id="c"), "de", False),
        (ModelsQuery(after_id="e"), "", False),
        (ModelsQuery(limit=2, before_id="e"), "cd", True),
        (ModelsQuery(limit=2, before_id="c"), "ab", False),
        (ModelsQuery(before_id="a"), "", False),
    ],
)
def test_a_page_is_where_its_cursor_says(query: ModelsQuery, page: str, has_more: bool) -> None:
    shown = model_page(FIVE, query)
    assert ("".join(model.id for model in shown.data), shown.has_more) == (page, has_more)
    assert (shown.first_id, shown.last_id) == ((page[0], page[-1]) if page else (None, None))


@given(st.lists(st.uuids().map(str), unique=True, max_size=30), st.integers(1, 7))
def test_all_pages_together_are_the_list_in_either_direction(names: list[str], limit: int) -> None:
    pools = [(name, Pool(name, ())) for name in names]
    forth, page = [], model_page(pools, ModelsQuery(limit=limit))
    forth += [model.id for model in page.data]
    while page.has_more:
        page = model_page(pools, ModelsQuery(limit=limit, after_id=page.last_id))
        forth += [model.id for model in page.data]
    assert forth == names
    if not names:
        return
    back, page = [names[-1]], model_page(pools, ModelsQuery(limit=limit, before_id=names[-1]))
    back = [model.id for model in page.data] + back
    while page.has_more:
        page = model_page(pools, ModelsQuery(limit=limit, before_id=page.first_id))
        back = [model.id for model in page.data] + back
    assert back == names


@pytest.mark.parametrize(
    "query", [ModelsQuery(after_id="f"), ModelsQuery(before_id="f"), ModelsQuery(after_id="a", before_id="c")]
)
def test_a_cursor_that_leads_nowhere_is_named(query: ModelsQuery) -> None:
    with pytest.raises(Malformed, match="_id"):
        model_page(FIVE, query)


def test_no_models_are_an_empty_page() -> None:
    assert model_page([], ModelsQuery()) == ModelPage([], False, None, None)


def test_a_model_is_as_old_as_its_pool() -> None:
    shown = model_info("alias", Pool("org.model", (), max_tokens=9, created_s=1_795_000_000))
    assert shown == ModelInfo("alias", "alias", "2026-11-18T11:06:40Z", 9)
