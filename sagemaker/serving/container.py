"""The parts of one running container, and its health."""

import asyncio

import msgspec

from serving.engines import Launcher
from serving.envelope import ClearEnvelope, Envelope
from serving.line import Line
from serving.models import Models
from serving.sealing.enclave import Enclave
from serving.sealing.envelope import MEDIA_TYPE, SealedEnvelope
from serving.sealing.peer import peer_of
from serving.settings import Settings


class Health(msgspec.Struct, frozen=True):
    """What /ping answers. `status` is `ok` or, with a 503, a short reason."""

    status: str
    instance: str
    capacity: int
    in_flight: int
    queue_depth: int


class Container:
    """Belongs to one event loop."""

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        self.settings = settings
        self.line = Line(settings.limits)
        self.models = Models(launcher, settings)
        self.enclave = Enclave(peer_of(settings.enclave)) if settings.enclave else None
        self.loading = False
        # Done when the time to finish is over and every call that still runs is to be cut.
        self.cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def health(self) -> Health:
        return Health(
            status=self._status(),
            instance=self.settings.instance,
            capacity=self.settings.limits.capacity,
            in_flight=self.line.in_flight,
            queue_depth=self.line.depth,
        )

    def _status(self) -> str:
        """One dead model among others that live is its own callers' trouble; all dead is the instance's."""
        if self.line.stopping:
            return "stopping"
        if self.loading:
            return "loading"
        faults = [model.engine.fault() for model in self.models.all()]
        if faults and all(faults):
            return faults[0] or "ok"
        return "ok"

    def envelope(self, media_type: str) -> Envelope:
        """For a request whose body is of this type."""
        return SealedEnvelope(self.enclave) if media_type == MEDIA_TYPE else ClearEnvelope()

    def stop(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish for `grace_s` seconds, then cut it."""
        if not self.line.stopping:
            self.line.stop()
            asyncio.get_running_loop().call_later(grace_s, self._cut)

    async def close(self) -> None:
        await self.models.close()
        if self.enclave:
            self.enclave.close()

    def _cut(self) -> None:
        if not self.cut.done():
            self.cut.set_result(None)
