"""What stands beside the text of an answer's chunks: judged whenever it says something new."""

import json
from typing import Any

from guard import Rule, Rules, compiled
from guard.bodies import Judge
from guard.bodies.chunks import Chunks

RULES = Rules((Rule("badge", r"\bid-\d{4}\b"), Rule("seen", "odd", "flag")))


def chunk(text: str, **beside: Any) -> bytes:
    return json.dumps({**beside, "choices": [{"index": 0, "delta": {"content": text}}]}).encode()


def test_what_is_repeated_beside_a_text_is_judged_anew_where_it_changes() -> None:
    chunks = Chunks("chat.completions", Judge(compiled(RULES), "out"))

    def said(**beside: Any) -> str:
        return b"".join(chunks.read(chunk("hi ", **beside))).decode()

    for beside in ({"model": "m"}, {"model": "m"}, {"model": "m", "note": "n"}, {"model": "m"}):
        assert json.loads(said(**beside)).items() >= beside.items()
    assert "[badge]" in said(model="m", note="id-1234")
    assert "id-1234" not in said(model="m", note="id-1234")
    assert "id-1234" not in said(model="m", note={"of": "id-1234"})
    assert "id-1234" not in said(model="m", note=["id-1234"])
    for _ in range(3):
        said(model="m", note="odd")
    assert chunks.findings() == {"badge": 4, "seen": 3}
