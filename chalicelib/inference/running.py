"""Running streams end with what allowed them: a key that is revoked or expires, a member who is removed, a suspension.

A call is judged when it is admitted, at an epoch. A stream may run for minutes after that: so where its tenant's epoch
has moved since, it is judged again, as if it asked only now.
"""

from collections.abc import Callable
from itertools import groupby
from operator import attrgetter

from chalicelib.refusal import Forbidden, NotFound, NotOpened, Refusal, StoreUnavailable, Unauthenticated


class RunningStream:
    """One stream: at which epoch, and until when, it is known to be allowed."""

    def __init__(
        self,
        tenant: str,
        epoch: int,
        expires_ms: int | None,
        *,
        judge: Callable[[], int],
        revoke: Callable[[Refusal], None],
    ) -> None:
        """`judge`: the epoch at which it is allowed now; raises what refuses it. `revoke`: ends it by that."""
        self.tenant = tenant
        self.epoch = epoch
        self.expires_ms = expires_ms
        self._judge = judge
        self._revoke = revoke

    def look(self, epoch: int | None, now_ms: int) -> None:
        """At `epoch`; None: there is no such tenant any more. Raises StoreUnavailable."""
        if epoch == self.epoch and (self.expires_ms is None or now_ms < self.expires_ms):
            return
        try:
            self.epoch = self._judge()
        except (Unauthenticated, Forbidden, NotFound, NotOpened) as refusal:
            self._revoke(refusal)


class RunningStreams:
    """Those of this process, by their leases. Thread-safe."""

    def __init__(self) -> None:
        self._streams: dict[str, RunningStream] = {}  # added and removed in one step each

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, lease_id: str, stream: RunningStream) -> None:
        self._streams[lease_id] = stream

    def remove(self, lease_id: str) -> None:
        """Where there is one."""
        self._streams.pop(lease_id, None)

    def look(self, epoch_of: Callable[[str], int], now_ms: int) -> None:
        """At all of them, and once for each tenant at its epoch; `epoch_of` raises NotFound, StoreUnavailable.

        Where the store does not answer, they go on: a lease that nobody can renew ends a stream, too. So do those that
        anything else keeps from being judged; raises that after having looked at all the others.
        """
        by_tenant = attrgetter("tenant")
        broken: list[Exception] = []
        for tenant, streams in groupby(sorted(self._streams.values(), key=by_tenant), key=by_tenant):
            try:
                epoch = epoch_of(tenant)
            except NotFound:
                epoch = None
            except StoreUnavailable:
                continue
            except Exception as error:
                broken.append(error)
                continue
            for stream in streams:
                try:
                    stream.look(epoch, now_ms)
                except StoreUnavailable:
                    break
                except Exception as error:
                    broken.append(error)
        if broken:
            raise broken[0]
