"""Before anything is proved on a store: it loses no update. (Moto served by threads does; see docs/admission.md.)"""

from concurrent.futures import ThreadPoolExecutor

from chalicelib.admission.store import DynamoMeters
from tests.admission.arrange import REGION, T0
from tests.stores import Served, StoreName, fresh_tables

THREADS = 32
EACH = 20


def test_of_many_concurrent_increments_none_is_lost_and_each_is_seen(stores: Served, store: StoreName) -> None:
    meters = DynamoMeters(fresh_tables(stores.url(store)), REGION)
    first = meters.open("acme", T0)
    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(pool.map(lambda _: meters.bump("acme"), range(THREADS * EACH)))
    assert sorted(seen) == list(range(first + 1, first + THREADS * EACH + 1))
    assert meters.read("acme") == first + THREADS * EACH
