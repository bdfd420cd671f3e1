import threading

import msgspec
import pytest

from chalicelib.call import Delta, Finished, Started, Usage
from chalicelib.engines.scripted import ScriptedEngine, whole, words
from chalicelib.pool import Capacity, Scripted
from chalicelib.refusal import EngineFailed, NoCapacity
from tests.engines.answers import chat, ending
from tests.patience import PATIENCE_S

TARGET = Scripted("a", capacity=2)


def test_it_says_what_the_script_says() -> None:
    engine = ScriptedEngine(lambda target, call: words(f"{target.name} for {call.pool}"))
    stream = engine.open(TARGET, chat(stream=True))
    assert engine.running == 1
    started, *deltas, _, finished = stream
    stream.close()
    assert started == Started("scripted-1")
    texts = [msgspec.json.decode(each.data)["choices"][0]["delta"]["content"] for each in deltas if type(each) is Delta]
    assert "".join(texts) == "a for model-a"
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(1, 3)
    assert (engine.opened, engine.running) == (1, 0)


def test_a_whole_answer_is_one_delta() -> None:
    _, delta, finished = whole("hello there")
    assert isinstance(delta, Delta)
    assert msgspec.json.decode(delta.data)["choices"][0]["message"]["content"] == "hello there"
    assert finished == Finished(Usage(1, 2))


def test_a_refusal_at_the_start_refuses_the_call() -> None:
    engine = ScriptedEngine(lambda target, call: (NoCapacity("full"),))
    with pytest.raises(NoCapacity):
        engine.open(TARGET, chat())
    assert (engine.opened, engine.running) == (1, 0)


def test_a_gate_holds_until_it_is_set_or_the_stream_is_closed() -> None:
    gate = threading.Event()
    engine = ScriptedEngine(lambda target, call: (Started("i"), gate, *words("hello")[1:]))
    for release in (gate.set, None):
        gate.clear()
        stream = engine.open(TARGET, chat())
        events = iter(stream)
        assert next(events) == Started("i")
        ended: list[object] = []
        reader = threading.Thread(target=lambda events=events, ended=ended: ended.append(ending(events)[1]))
        reader.start()
        (release or stream.close)()
        reader.join(PATIENCE_S)
        assert [type(each) for each in ended] == [type(None) if release else EngineFailed]
        stream.close()
    assert engine.running == 0


def test_its_health_is_what_the_pool_says() -> None:
    assert ScriptedEngine(lambda target, call: ()).probe(TARGET) == Capacity(2, 0, 0)
