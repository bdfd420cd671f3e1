"""What the protocol says of streams that a loop polls, said of every kind of target that is reached over HTTP."""

from contextlib import closing

import pytest

from chalicelib.call import Finished, Operation
from chalicelib.refusal import EngineFailed, EngineTimedOut, Refusal
from tests.engines.harnesses import Harness
from tests.engines.loops import polled, waited
from tests.engines.wired import Deed, Wired


@pytest.mark.parametrize("operation", ["chat.completions", "messages", "invoke", "converse"])
def test_a_loop_hears_what_a_thread_hears(there: Harness, operation: Operation) -> None:
    if not isinstance(there, Wired) or operation not in there.understood:
        return  # the scripted engine's streams come from this process: tests/api tells of them
    call = there.call(operation, stream=True)
    heard = polled(there.engine.open(there.target, call))
    assert isinstance(heard[-1], Finished)
    assert heard == waited(there.engine.open(there.target, call))


@pytest.mark.parametrize(
    ("deed", "kind"),
    [("break off midway", EngineFailed), ("end midway", EngineFailed), ("be silent midway", EngineTimedOut)],
)
def test_a_loop_hears_how_a_stream_ends_that_fails(there: Harness, deed: Deed, kind: type[Refusal]) -> None:
    if not isinstance(there, Wired):
        return
    there.deed = deed
    engine = there.impatient if kind is EngineTimedOut else there.engine
    with closing(engine.open(there.target, there.call("chat.completions", stream=True))) as stream:
        with pytest.raises(kind) as caught:
            polled(stream)
        assert type(caught.value) is kind
