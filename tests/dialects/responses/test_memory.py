"""What a Response that is told for minutes keeps in memory."""

import sys

import msgspec

from chalicelib.call import Delta
from chalicelib.dialects.responses.answers import Answered
from chalicelib.engines.scripted import words
from tests.engines.answers import Chat
from tests.engines.responses import asked


def test_while_it_is_told_only_what_it_repeats_is_kept_of_the_request() -> None:
    body = msgspec.json.encode(
        {"input": "x" * 1_000, "metadata": {"told": "again"}, "tools": [{"type": "custom", "name": "patch"}]}
    )
    of_nobody = sys.getrefcount(body)
    call = msgspec.structs.replace(asked(stream=True), fields=msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    assert sys.getrefcount(body) > of_nobody
    events = iter(Answered(Chat(words("Hello there")), call))
    del call
    begun = next(event for event in events if isinstance(event, Delta))
    assert sys.getrefcount(body) == of_nobody
    told = [begun, *(event for event in events if isinstance(event, Delta))]
    assert all(b'"metadata":{"told":"again"}' in event.data for event in (told[0], told[-1]))
