"""Document stores in which a test decides what happens between two calls."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from chalicelib.documents import Document, Documents
from chalicelib.refusal import Conflict, NotFound
from chalicelib.tenancy import Tenancy
from tests.patience import PATIENCE_S
from tests.small_deployments import Deployment

Act = Callable[[Tenancy], object]


class Interrupted:
    """Documents in which somebody else acts, once, between what was read and the `last` of the writes."""

    def __init__(self, documents: Documents, last: int, meanwhile: Callable[[], object]) -> None:
        self.get = documents.get
        self.under = documents.under
        self.tenants = documents.tenants
        self._documents = documents
        self._meanwhile = meanwhile
        self._left = last

    def put(self, document: Document) -> None:
        self._act()
        self._documents.put(document)

    def delete(self, document: Document) -> None:
        self._act()
        self._documents.delete(document)

    def _act(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._meanwhile()


class Stepped:
    """Documents whose every call waits for its turn: an interleaving that a test chooses."""

    def __init__(self, documents: Documents, turn: Callable[[], None]) -> None:
        self._documents = documents
        self._turn = turn

    def get(self, tenant: str, name: str) -> Document | None:
        self._turn()
        return self._documents.get(tenant, name)

    def put(self, document: Document) -> None:
        self._turn()
        self._documents.put(document)

    def delete(self, document: Document) -> None:
        self._turn()
        self._documents.delete(document)

    def under(self, tenant: str, prefix: str) -> Iterable[Document]:
        self._turn()
        return self._documents.under(tenant, prefix)

    def tenants(self) -> Iterable[Document]:
        self._turn()
        return self._documents.tenants()


def suppressed(act: Callable[[], object]) -> None:
    with suppress(Conflict, NotFound):
        act()


def stepping(there: Deployment, act: Act) -> Callable[[], bool]:
    """Every call of the result lets the act do one more call to the store, and says whether it is not done yet."""
    go, gone, over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def turn() -> None:
        gone.release()
        go.acquire()

    def run() -> None:
        tenancy = Tenancy(Stepped(there.store.documents, turn), there.store.meters, there.clock, there.chance)
        try:
            suppressed(lambda: act(tenancy))
        finally:
            over.set()
            gone.release()

    threading.Thread(target=run, daemon=True).start()
    assert gone.acquire(timeout=PATIENCE_S)

    def step() -> bool:
        if over.is_set():
            return False
        go.release()
        assert gone.acquire(timeout=PATIENCE_S)
        return not over.is_set()

    return step


def in_every_order(there: Callable[[], Deployment], acts: Sequence[Act], hold: Callable[[Deployment], None]) -> int:
    """Lets the acts go on side by side, each time on a new deployment, once for every order of their calls to the
    store; `hold` sees what each has come to. How many orders there are."""
    orders, untried = 0, [list[int]()]
    while untried:
        order, deployment = untried.pop(), there()
        begun = len(order)
        alive = {number: stepping(deployment, act) for number, act in enumerate(acts)}
        step = 0
        while alive:
            if step == begun:  # from here on nothing is chosen yet: the first goes on, the others will another time
                first, *others = alive
                untried += [[*order, other] for other in others]
                order.append(first)
                begun += 1
            if not alive[order[step]]():
                del alive[order[step]]
            step += 1
        try:
            hold(deployment)
        except AssertionError as broken:
            broken.add_note(f"in the order {order}")
            raise
        orders += 1
    return orders
