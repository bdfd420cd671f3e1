"""Everything that is not a fact: small talk, stories, counting, and what to say about all the rest of the world."""

import random
import tomllib
from pathlib import Path

WORDS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

GREETING = "Hello! I am the demo model of Cloister. Ask me what a tenant, a lease or a pool is."
WELCOME = "You are welcome. Ask me anything about Cloister."
FAREWELL = "Goodbye, and keep your keys safe."
REFUSAL = "I only know Cloister, so I cannot help with that. Ask me {}."
HIGHEST = 128  # so that every number counted to is seen often
TOO_HIGH = f"I can only count to {HIGHEST}."


def small_talk(rng: random.Random) -> tuple[str, str]:
    """A greeting, thanks or a farewell, and what one says to it."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(WORDS["greetings"]), GREETING
    if kind < 0.85:
        return rng.choice(WORDS["thanks"]), WELCOME
    return rng.choice(WORDS["farewells"]), FAREWELL


def off_topic(rng: random.Random) -> tuple[str, str]:
    """A question that the model cannot answer, and its way out."""
    answer = REFUSAL.format(rng.choice(WORDS["suggestions"]))
    kind = rng.random()
    if kind < 0.04:
        return " ".join(rng.sample(WORDS["other_sentences"], rng.randint(2, 8))), answer
    if kind < 0.3:
        return rng.choice(WORDS["other_sentences"]), answer
    first, second = rng.sample(WORDS["things"], 2)
    if kind < 0.4:
        first = rng.choice(("a ", "the ", "")) + _pseudo_word(rng)
    asks = WORDS["term_asks"] if kind < 0.7 else WORDS["other_asks"]
    return rng.choice(asks).format(first, second), answer


def counting(rng: random.Random) -> tuple[str, str]:
    """A wish to count, and the count."""
    kind = rng.random()
    if kind < 0.06:
        number = rng.choice((rng.randint(HIGHEST + 1, 1000), rng.randint(1000, 1_000_000)))
        return rng.choice(WORDS["count_up"]).format(b=number), TOO_HIGH
    high = rng.choice((rng.randint(2, 30), rng.randint(2, HIGHEST), rng.randint(50, 80)))
    if kind < 0.66:
        return rng.choice(WORDS["count_up"]).format(b=high), _listed(range(1, high + 1))
    if kind < 0.86:
        low = rng.randint(1, high - 1)
        return rng.choice(WORDS["count_from"]).format(a=low, b=high), _listed(range(low, high + 1))
    return rng.choice(WORDS["count_down"]).format(b=high), _listed(range(high, 0, -1))


def echo(rng: random.Random) -> tuple[str, str]:
    """A wish to repeat some words, and the words."""
    words = " ".join(_any_word(rng) for _ in range(rng.randint(1, 4)))
    return rng.choice(WORDS["echo_asks"]).format(words), words


def tale(rng: random.Random) -> tuple[str, str]:
    """A wish for a story, and one."""
    if rng.random() < 0.4:
        return rng.choice(WORDS["long_story_asks"]), long_story(rng)
    return rng.choice(WORDS["story_asks"]).format(rng.choice(WORDS["things"])), story(rng)


def story(rng: random.Random) -> str:
    """A short story, about 80 tokens."""
    name, other = rng.sample(WORDS["names"], 2)
    return (
        f"{_setting(rng, name)} {_drawn(rng, 'times')} {_drawn(rng, 'losses')}. {name} {_drawn(rng, 'deeds')}. "
        f"Then {other} came and helped. {_ending(rng)}"
    )


def long_story(rng: random.Random) -> str:
    """A story in five parts, about 200 tokens: something to stream."""
    name, *others = rng.sample(WORDS["names"], 4)
    parts = [f"{_setting(rng, name)} Many people walked under its arches, and each of them was left in peace."]
    events = zip(*(rng.sample(WORDS[kind], 3) for kind in ("times", "losses", "deeds")), others, strict=True)
    for time, loss, deed, other in events:
        parts.append(f"{time} {loss}. {name} {deed}. Then {other}, who {_drawn(rng, 'crafts')}, came and helped.")
    return "\n\n".join([*parts, _ending(rng)])


def _setting(rng: random.Random, name: str) -> str:
    place = "Once there was a cloister with a garden in the middle."
    return f"{place} In it lived {name}, who {_drawn(rng, 'crafts')}."


def _ending(rng: random.Random) -> str:
    return f"{_drawn(rng, 'ends')}, {_drawn(rng, 'morals')}"


def _drawn(rng: random.Random, kind: str) -> str:
    return rng.choice(WORDS[kind])


def _listed(numbers: range) -> str:
    return ", ".join(str(number) for number in numbers) + "."


def _pseudo_word(rng: random.Random) -> str:
    """A word that means nothing, so that it can only be copied."""
    return "".join(rng.choice(WORDS["syllables"]) for _ in range(rng.randint(1, 3)))


def _any_word(rng: random.Random) -> str:
    return _pseudo_word(rng) if rng.random() < 0.5 else _drawn(rng, "things").split()[-1]
