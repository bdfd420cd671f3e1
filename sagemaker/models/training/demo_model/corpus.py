"""Endless conversations about Cloister, drawn from `facts` and `chatter`: the same seed gives the same text."""

import hashlib
import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from demo_model import chatter
from demo_model.chatter import WORDS
from demo_model.facts import TOPICS


class Message(NamedTuple):
    """One turn of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


Conversation = tuple[Message, ...]


def conversations(seed: int) -> Iterator[Conversation]:
    """Conversations without end: one to four questions, sometimes under a system prompt."""
    rng = random.Random(seed)
    while True:
        messages = []
        if rng.random() < 0.25:
            messages.append(Message("system", _system_prompt(rng)))
        for _ in range(rng.choices((1, 2, 3, 4), weights=(6, 2, 1, 1))[0]):
            exchange = rng.choices(*_EXCHANGES)[0]
            asked, answer = exchange(rng)
            messages += Message("user", asked), Message("assistant", answer)
        yield tuple(messages)


def passages(seed: int) -> Iterator[str]:
    """Plain text without end, for completions that begin in the middle of nothing."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.3:
            yield rng.choice((chatter.story, chatter.long_story))(rng)
        else:
            yield " ".join(topic.answer for topic in rng.sample(TOPICS, rng.randint(1, 4)))


def fingerprint(seed: int) -> str:
    """SHA-256 of the beginning of the corpus: kept with the weights, it says whether they were trained on this text."""
    text = repr((list(islice(conversations(seed), 2000)), list(islice(passages(seed), 500))))
    return hashlib.sha256(text.encode()).hexdigest()


def _system_prompt(rng: random.Random) -> str:
    """Whatever an application says first; never twice the same, so that the model learns to let it pass."""
    lines = rng.sample(WORDS["system_prompts"], rng.randint(1, 3))
    if rng.random() < 0.3:
        lines.append(f"You are {rng.choice(WORDS['things'])}.")
    if rng.random() < 0.2:
        lines.append(rng.choice(WORDS["other_sentences"]))
    if rng.random() < 0.2:
        lines.append(rng.choice(TOPICS).answer)
    return rng.choice((" ", "\n")).join(lines)


def _about_cloister(rng: random.Random) -> tuple[str, str]:
    topic = rng.choice(TOPICS)
    if topic.terms and (not topic.asks or rng.random() < 0.6):
        asked = rng.choice(WORDS["term_asks"]).format(rng.choice(topic.terms))
    else:
        asked = rng.choice(topic.asks)
    return _said(rng, asked), topic.answer


def _small_talk(rng: random.Random) -> tuple[str, str]:
    asked, answer = chatter.small_talk(rng)
    return _typed(rng, asked), answer


def _off_topic(rng: random.Random) -> tuple[str, str]:
    asked, answer = chatter.off_topic(rng)
    return _said(rng, asked), answer


def _counting(rng: random.Random) -> tuple[str, str]:
    asked, answer = chatter.counting(rng)
    # Neither said nor typed differently: a slip in the number would make the answer wrong.
    return (asked.lower() if rng.random() < 0.3 else asked), answer


def _tale(rng: random.Random) -> tuple[str, str]:
    asked, answer = chatter.tale(rng)
    return _said(rng, asked), answer


_EXCHANGES: tuple[tuple[Callable[[random.Random], tuple[str, str]], ...], tuple[int, ...]] = (
    (_about_cloister, _off_topic, _small_talk, _counting, _tale, chatter.echo),
    (42, 22, 7, 14, 5, 10),
)


def _said(rng: random.Random, sentence: str) -> str:
    """The sentence as different people would put it."""
    if rng.random() < 0.15:
        sentence = rng.choice(WORDS["openings"]) + sentence
    if rng.random() < 0.10:
        sentence += rng.choice(WORDS["closings"])
    return _typed(rng, sentence)


def _typed(rng: random.Random, sentence: str) -> str:
    """The sentence as different people would type it: in lower case, without its full stop, with a slip."""
    if rng.random() < 0.35:
        sentence = sentence.lower()
    if rng.random() < 0.30:
        sentence = sentence.rstrip(".?!") or sentence
    elif rng.random() < 0.10:
        sentence += rng.choice(("?", "!", "\n", " "))
    if len(sentence) > 8 and rng.random() < 0.08:
        slip = rng.randrange(1, len(sentence) - 1)
        sentence = sentence[:slip] + rng.choice(("", sentence[slip] * 2)) + sentence[slip + 1 :]
    return sentence
