"""Concurrent callers of one tenant do not fight: the branches commute, and the slack keeps predictions right."""

import pytest

from chalicelib.admission.limits import Limits
from tests.admission.measure import AT_THE_EDGE, CALLERS, WELL_BELOW, served_meters, tries
from tests.stores import Served, StoreName


@pytest.mark.parametrize("of", [WELL_BELOW, AT_THE_EDGE], ids=["well_below", "at_the_edge"])
def test_none_of_32_concurrent_callers_gives_up(stores: Served, store: StoreName, of: Limits) -> None:
    found = tries(*served_meters(stores.url(store)), of, 6)
    assert found.gave_up == 0
    assert found.admitted + found.denied == CALLERS * 6
