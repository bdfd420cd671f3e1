"""The end of a conversation: no more than wanted, and nothing but its last characters."""

from hypothesis import given
from hypothesis import strategies as st

from emulators.bedrock.conversation import Conversation, Turn
from emulators.bedrock.prompt_end import ending, length


def written(asked: Conversation) -> str:
    return asked.system + "".join(turn.text for turn in asked.turns)


CONVERSATIONS = st.builds(
    Conversation,
    turns=st.lists(
        st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=st.text(max_size=9)), min_size=1
    ).map(tuple),
    system=st.text(max_size=9),
    max_tokens=st.just(7),
)


@given(CONVERSATIONS, st.integers(1, 60))
def test_the_last_characters_stay_and_no_more(asked: Conversation, most: int) -> None:
    kept = ending(asked, most)
    assert written(kept) == written(asked)[-most:]
    assert length(kept) == min(most, length(asked))
    assert [turn.role for turn in kept.turns] == [turn.role for turn in asked.turns][-len(kept.turns) :]
    assert kept.max_tokens == asked.max_tokens
