"""The meters of several regions, as far as changes of a tenant are concerned: what is true in one is true in all."""

from collections.abc import Mapping

from chalicelib.admission.meter import NoMeter
from chalicelib.admission.meters import Epochs
from chalicelib.refusal import StoreUnavailable


class EveryRegion:
    """Implements Epochs: reads this region's, and moves those of all."""

    def __init__(self, here: Epochs, elsewhere: Mapping[str, Epochs]) -> None:
        """`elsewhere`: by region."""
        self._here = here
        self._elsewhere = elsewhere

    def open(self, tenant: str, now_ms: int) -> int:
        for epochs in self._elsewhere.values():
            epochs.open(tenant, now_ms)
        return self._here.open(tenant, now_ms)

    def read(self, tenant: str) -> int:
        return self._here.read(tenant)

    def bump(self, tenant: str) -> int:
        """Raises StoreUnavailable after having tried every region; repeating the change moves them all again."""
        moved: list[int] = []
        failed: StoreUnavailable | None = None
        for epochs in (self._here, *self._elsewhere.values()):
            try:
                moved.append(epochs.bump(tenant))
            except NoMeter:
                continue  # the tenant is not served there
            except StoreUnavailable as error:
                failed = error
        if failed:
            raise failed
        if not moved:
            raise NoMeter(tenant)
        return moved[0]
