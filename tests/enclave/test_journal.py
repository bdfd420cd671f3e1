"""The enclave's log."""

import io
import json
import os

from enclave.journal import Entry, Journal


def test_a_fault_is_told_by_its_kind_alone() -> None:
    stream = io.StringIO()
    Journal(stream).fault(ValueError("the secret"))
    assert json.loads(stream.getvalue()) == {"outcome": "fault", "why": "ValueError"}


def test_a_log_that_cannot_be_written_fails_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    Journal(stream).write(Entry(began_ms=0, bytes_in=0))
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), writing)  # what is left in its buffer goes here
    stream.close()
