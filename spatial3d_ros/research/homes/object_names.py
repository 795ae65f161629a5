"""What things are called in one room: the labels they bear, and the words people use for them.

In some rooms most nouns are made up. Whoever reads them must match words with labels instead of
knowing them: so any noun of any detector will do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import numpy as np

from spatial3d_ros.research.homes.object_catalog import THINGS

MADE_UP = 0.35  # rooms with made-up nouns
NO_ANCHORS = {"wall", "floor", "ceiling", "object", "doorframe"}
_UNLABELLED, _UNKNOWN = 0.025, 0.02
_ONSETS = (
    "b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j",
    "k", "kl", "l", "m", "n", "p", "pl", "pr", "qu", "r", "s", "sc", "sh", "sk", "sl", "sm", "sn",
    "sp", "st", "str", "t", "th", "tr", "v", "w", "wh", "y", "z",
)  # fmt: skip
_VOWELS = (
    "a", "a", "e", "e", "i", "i", "o", "o", "u", "u", "ai", "ea", "ee", "oa", "oo", "ou",
)  # fmt: skip
_ENDS = (
    "b", "ck", "d", "ft", "g", "k", "l", "ll", "lt", "m", "mp", "n", "nd", "ng", "nk", "nt", "p",
    "r", "rd", "rk", "rm", "rt", "s", "sh", "ss", "st", "t", "th", "tch", "x", "z", "er", "el",
    "in", "on", "et", "ow", "y",
)  # fmt: skip


def made_up_word(rng: random.Random) -> str:
    """A word that can be spoken and that nobody knows: "stroamel"."""
    middle = "".join(
        rng.choice(_VOWELS) + rng.choice("bdfglmnprstvz")
        for _ in range(rng.choice((0, 0, 1, 1, 2)))
    )
    return rng.choice(_ONSETS) + middle + rng.choice(_VOWELS) + rng.choice(_ENDS)


@cache
def plural(noun: str) -> str:
    """ "bookshelf" -> "bookshelves"; what is plural already stays."""
    if noun.endswith("shelf"):
        return noun[:-1] + "ves"
    if noun.endswith(("s", "clothing", "clothes", "furniture", "luggage")) and not noun.endswith(
        "ss"
    ):
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("ss", "x", "ch", "sh", "z")) else "s")


class Naming:
    """Names of n things (keys of THINGS). labels (n,): "" where a thing bears none.

    A word means some things for sure and could mean others: `masks` gives both, (n,) bool each.
    """

    def __init__(self, keys: Sequence[str], rng: random.Random) -> None:
        self.keys, self.rng = tuple(keys), rng
        self.names: dict[str, tuple[str, ...]] = {}
        self.broader: dict[str, tuple[str, ...]] = {}
        self.made_up = rng.random() < MADE_UP
        heads = [made_up_word(rng) for _ in range(4)]
        taken: set[str] = set()
        for key in sorted(set(keys)):
            thing = THINGS[key]
            self.names[key], self.broader[key] = thing.names, thing.broader
            if self.made_up and key not in ("wall", "floor", "ceiling") and rng.random() < 0.85:
                word = made_up_word(rng)
                head = rng.choice(heads) if rng.random() < 0.2 else ""
                if word not in taken and word not in heads:
                    self.names[key] = (f"{word} {head}".strip(),)
                    self.broader[key] = (head,) if head else ()
                    taken.add(word)
        style = {key: self._label(key) for key in sorted(set(keys))}
        self.labels = []
        for key in keys:
            label = style[key] if rng.random() < 0.92 else self._label(key)
            roll = rng.random()
            if roll < _UNLABELLED:
                label = ""
            elif roll < _UNLABELLED + _UNKNOWN and not self.made_up:
                label = "object"
            self.labels.append(label)
        self._masks: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def _label(self, key: str) -> str:
        names = self.names[key]
        label = names[0] if self.rng.random() < 0.65 else self.rng.choice(names)
        return plural(label) if self.rng.random() < 0.03 else label

    def word(self, index: int) -> str:
        """A noun that somebody would use for a thing: mostly its label, or another name of it."""
        rng, key = self.rng, self.keys[index]
        label, roll = self.labels[index], rng.random()
        if roll < 0.5 and label in self.names[key]:
            return label
        if roll < 0.72 and self.broader[key]:
            return rng.choice(self.broader[key])
        if roll > 0.985:
            return rng.choice(("object", "item", "thing"))
        return rng.choice(self.names[key])

    def masks(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        """Which things a noun means for sure, and which it could mean."""
        if word not in self._masks:
            if word in ("object", "item", "thing", "one"):
                sure = possible = dict.fromkeys(self.names, True)
            else:
                sure = {key: word in names for key, names in self.names.items()}
                possible = {key: sure[key] or word in self.broader[key] for key in self.names}
                if not any(sure.values()):  # "appliance": all kinds of them
                    sure = possible
            self._masks[word] = (
                np.array([sure[key] for key in self.keys]),
                np.array([possible[key] for key in self.keys]),
            )
        return self._masks[word]


def misspell(text: str, rng: random.Random) -> str:
    """One slip of the fingers in a longer word."""
    places = [i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha()]
    if not places:
        return text
    i, roll = rng.choice(places), rng.random()
    if roll < 0.4:
        return text[:i] + text[i + 1 :]
    if roll < 0.7:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i] + text[i:]
