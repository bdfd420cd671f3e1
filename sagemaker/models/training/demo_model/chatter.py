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
    if kind < 0.36:
        return _foreign(rng), answer
    first, second = rng.sample(WORDS["things"], 2)
    if kind < 0.45:
        first = rng.choice(("a ", "the ", "")) + _pseudo_word(rng)
    asks = WORDS["term_asks"] if kind < 0.7 else WORDS["other_asks"]
    return rng.choice(asks).format(first, second), answer


def counting(rng: random.Random) -> tuple[str, str]:
    """A wish to count, and the count."""
    kind = rng.random()
    if kind < 0.06:
        number = rng.choice((rng.randint(HIGHEST + 1, 1000), rng.randint(1000, 1_000_000)))
        return rng.choice(WORDS["count_up"]).format(b=number), TOO_HIGH
    # Mostly short: where to stop is the hard part, and a short count asks it more often.
    bounds = rng.choices(((2, 20), (2, 64), (50, 80), (2, HIGHEST)), weights=(5, 2, 2, 1))[0]
    high = rng.randint(*bounds)
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
    """A short story, about 70 tokens."""
    name = _drawn(rng, "heroes")
    return f"{_setting(rng, name)} {_event(rng, name, rng.randrange(_EVENTS))} {_ending(rng)}"


def long_story(rng: random.Random) -> str:
    """A story in five parts, about 170 tokens: something to stream."""
    name = _drawn(rng, "heroes")
    opening = f"{_setting(rng, name)} Many people walked under its arches, and each of them was left in peace."
    return "\n\n".join([opening, *(_event(rng, name, event) for event in range(_EVENTS)), _ending(rng)])


_EVENTS = 3


def _setting(rng: random.Random, name: str) -> str:
    place = "Once there was a cloister with a garden in the middle."
    return f"{place} In it lived {name}, who {_drawn(rng, 'crafts')}."


def _event(rng: random.Random, name: str, event: int) -> str:
    """What happened. Each event has words of its own, or the likeliest would be said again and again."""
    time, loss, deed, helper = (
        rng.choice(WORDS[kind][event::_EVENTS]) for kind in ("times", "losses", "deeds", "helpers")
    )
    return f"{time} {loss}. {name} {deed}. Then {helper} came and helped."


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
    kind = rng.random()
    if kind < 0.6:
        return _pseudo_word(rng)
    return str(rng.randint(0, 9999)) if kind < 0.7 else _drawn(rng, "things").split()[-1]


def _foreign(rng: random.Random) -> str:
    """Something in a script that the model cannot read."""
    first, last = rng.choice(((0x3041, 0x3093), (0x4E00, 0x9FA0), (0x0430, 0x044F), (0x03B1, 0x03C9), (0x0627, 0x064A)))
    words = ("".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 8))) for _ in range(rng.randint(1, 4)))
    return " ".join(words)
