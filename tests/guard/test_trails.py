"""A private key goes on behind its first line, however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from guard import Rules, compiled
from tests.guard.test_chunks import CUTS, pieces, run

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n+/EE==\n-----END EC PRIVATE KEY-----"


@given(st.lists(st.sampled_from((KEY, KEY[:-30], "é", "a@b.org", " x ", "-")), max_size=5).map("".join), CUTS)
def test_every_cutting_of_keys_gives_what_the_whole_gives(text: str, cuts: list[int]) -> None:
    guard = compiled(Rules(packs=("private_keys", "mail")))
    whole = guard.judge(text, "out")
    assert "MHcCAQ" not in whole.text
    assert run(guard.scanner(), pieces(text, cuts)) == (whole.text, whole.findings, None)
    assert run(guard.scanner(), list(text)) == (whole.text, whole.findings, None)
