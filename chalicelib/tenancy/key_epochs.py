"""Key epochs: the lives of the keys that all enclaves share in mode hpke, kept for the whole platform."""

from collections.abc import Sequence

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import PLATFORM, Document
from chalicelib.tenancy.records import Records, text, value

NAME = "key-epochs"


class KeyEpoch(msgspec.Struct, frozen=True):
    """One fleet-wide key, as the gateway holds it: under the platform's KMS key, which opens it to enclaves alone."""

    epoch: str
    expires_ms: int
    token: bytes


class _Held(msgspec.Struct, frozen=True):
    epochs: tuple[KeyEpoch, ...] = ()


class KeyEpochs:
    """The epochs, newest first. Raises Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def living(self) -> Sequence[KeyEpoch]:
        """Those that have not expired. Requests sealed in any of them are opened."""
        held = self._records.held(PLATFORM, NAME)
        return self._living(held) if held else ()

    def current(self) -> KeyEpoch | None:
        """The one to seal in from now on."""
        return next(iter(self.living()), None)

    def begin(self, epoch: KeyEpoch) -> None:
        """From now on `epoch` is the current one; expired ones are forgotten."""
        held = self._records.held(PLATFORM, NAME)
        epochs = (epoch, *self._living(held)) if held else (epoch,)
        self._records.write(Document(PLATFORM, NAME, text(_Held(epochs)), held.version if held else 0))

    def _living(self, held: Document) -> tuple[KeyEpoch, ...]:
        now_ms = self._clock()
        return tuple(epoch for epoch in value(held, _Held).epochs if now_ms < epoch.expires_ms)
