"""A status page with a clock that moves when it is moved."""

from collections.abc import Mapping, Sequence

from chalicelib.documents.memory import MemoryDocuments
from chalicelib.egress import Egress
from chalicelib.placement.timing import Speed
from chalicelib.pool import Pool, Scripted
from chalicelib.status.asking import Questions
from chalicelib.status.board import Board, Boards, ComponentView
from chalicelib.status.component import Component
from chalicelib.status.memory import MemoryDays
from chalicelib.status.minutes import MINUTE_MS
from chalicelib.status.probing import Asked, sample
from chalicelib.status.samples import Days

T0 = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
POOL = Pool("llama", (Scripted("a", url="a"), Scripted("b", url="b")))
LLAMA = Component("llama", "Llama", "pools", pools=("llama",))
WELL, HALF, AWAY = ({target.probe_place: well for target, well in zip(POOL.targets, each, strict=True)} for each in (
    (True, True), (True, False), (False, False)
))  # fmt: skip
NOBODY: Mapping[str, bool] = {}


class World:
    def __init__(self, *components: Component, days: Days | None = None) -> None:
        self.now_ms = T0
        self.documents = MemoryDocuments()
        self.days = days or MemoryDays()
        self.speeds: list[str] = []
        self.boards = Boards(self.documents, self.days, "eu-central-1", lambda: self.now_ms, ())
        self.boards.put_components(components or (LLAMA,))
        self.questions = Questions(Egress(), self._time, {"api": "", "sign_in": ""})

    def minute(self, well: Mapping[str, bool] = WELL, pools: Sequence[Pool] = (POOL,)) -> None:
        """One that is sampled; then it is over."""
        sample(self.boards, self.questions, Asked({pool.name: pool for pool in pools}, well), self.now_ms)
        self.now_ms += MINUTE_MS

    def board(self) -> Board:
        return self.boards.read()

    def view(self, component: str = "llama") -> ComponentView:
        return next(view for view in self.board().components if view.id == component)

    def _time(self, pool: Pool) -> Speed | None:
        self.speeds.append(pool.name)
        return Speed(200 + len(self.speeds), 40_000)
