"""Meters in memory: the same rules, one process, one lock. For tests, and to try things out."""

import threading
from collections.abc import Callable, Iterator

import msgspec

from chalicelib.admission.decision import Release, Write
from chalicelib.admission.meter import Divided, Held, Lease, Lost, Meter, NoMeter


class MemoryMeters:
    """Implements Meters and Epochs."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}
        self._lock = threading.Lock()

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:  # noqa: ARG002  # it always answers
        with self._lock:
            meter = self._meters.get(write.tenant)
            if meter is None or not write.holds(meter):
                raise Lost(meter)
            self._meters[write.tenant] = after = write.apply(meter)
            return after

    def release(self, release: Release) -> None:
        with self._lock:
            meter = self._meters.get(release.tenant)
            if meter is None or not release.holds(meter):
                raise Lost(meter)
            self._meters[release.tenant] = release.apply(meter)

    def renew(self, lease: Lease) -> bool:
        with self._lock:
            meter = self._meters.get(lease.meter)
            if meter is None or lease.lease_id not in meter.leases:
                return False
            held = msgspec.structs.replace(meter.leases[lease.lease_id], expires_ms=lease.expires_ms)
            self._meters[lease.meter] = msgspec.structs.replace(meter, leases={**meter.leases, lease.lease_id: held})
            return True

    def expired(self, now_ms: int) -> Iterator[tuple[str, str, Held]]:
        with self._lock:
            meters = list(self._meters.items())
        for tenant, meter in meters:
            for lease_id, held in meter.leases.items():
                if held.expires_ms < now_ms:
                    yield tenant, lease_id, held

    def reading(self, tenant: str) -> Meter | None:
        with self._lock:
            return self._meters.get(tenant)

    def open(self, tenant: str, now_ms: int) -> int:
        with self._lock:
            return self._meters.setdefault(tenant, Meter(now_ms, {}, {}, {})).epoch

    def read(self, tenant: str) -> int:
        with self._lock:
            return self._meter(tenant).epoch

    def bump(self, tenant: str) -> int:
        with self._lock:
            meter = self._meter(tenant)
            if meter.epoch < 0:
                raise Divided(tenant)
            self._meters[tenant] = msgspec.structs.replace(meter, epoch=meter.epoch + 1)
            return meter.epoch + 1

    def change(self, name: str, change: Callable[[Meter], Meter | None]) -> bool:
        """Put what `change` makes of a meter in its place; False if it made nothing, or there is no meter."""
        with self._lock:
            meter = self._meters.get(name)
            after = None if meter is None else change(meter)
            if after is None:
                return False
            self._meters[name] = after
            return True

    def _meter(self, tenant: str) -> Meter:
        try:
            return self._meters[tenant]
        except KeyError:
            raise NoMeter(tenant) from None
