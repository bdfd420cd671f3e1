"""What is done every few seconds goes on for as long as there is something to do."""

import asyncio
from concurrent.futures import Future

from chalicelib.http.rounds import Round, Rounds
from tests.patience import PATIENCE_S


def test_what_comes_while_a_round_is_on_its_way_has_one_of_its_own() -> None:
    """It may have come when that round had looked already, and found nothing."""

    async def scene() -> None:
        under_way: asyncio.Queue[Future[bool]] = asyncio.Queue()

        def aside(_: Round) -> "Future[bool]":
            gone: Future[bool] = Future()
            under_way.put_nowait(gone)
            return gone

        rounds = Rounds(lambda: False, aside, 0.0)
        rounds.begin()
        first = await under_way.get()
        rounds.begin()
        first.set_result(False)
        (await under_way.get()).set_result(False)
        for _ in range(5):  # turns of the loop, in which another one would begin
            await asyncio.sleep(0)
        assert under_way.empty()

    asyncio.run(asyncio.wait_for(scene(), PATIENCE_S))
