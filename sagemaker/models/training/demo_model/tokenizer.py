"""Byte-level BPE, and how a conversation becomes tokens.

The splitting is GPT-2's, because llama.cpp (`tokenizer.ggml.pre = gpt-2`) and `tokenizers` do exactly the same there:
any bytes go in, and the same bytes come out.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from demo_model.corpus import Conversation, conversations, passages

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END)  # ids 0, 1, 2
END_OF_TEXT_ID, TURN_START_ID, TURN_END_ID = range(3)
CHAT_TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8").rstrip("\n")


def trained(seed: int, vocabulary: int) -> Tokenizer:
    """A tokenizer of `vocabulary` entries (special ones and all 256 bytes among them), trained on the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_text(seed), trainer)
    return tokenizer


def _text(seed: int) -> Iterator[str]:
    for conversation in islice(conversations(seed), 20_000):
        yield from (message.content for message in conversation)
    yield from islice(passages(seed), 5_000)


def chat_tokens(tokenizer: Tokenizer, conversation: Conversation) -> tuple[list[int], list[bool]]:
    """The tokens of a conversation as the chat template writes it, and which of them the model itself must say."""
    ids: list[int] = []
    said: list[bool] = []
    newline = tokenizer.encode("\n").ids
    for message in conversation:
        head = [TURN_START_ID, *tokenizer.encode(message.role + "\n").ids]
        body = [*tokenizer.encode(message.content, add_special_tokens=False).ids, TURN_END_ID]
        ids += head + body + newline
        said += [False] * len(head) + [message.role == "assistant"] * len(body) + [False] * len(newline)
    return ids, said
