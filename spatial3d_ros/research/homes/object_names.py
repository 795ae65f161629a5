"""Names of the objects of one room: their labels, and the nouns that users choose for them.

In some rooms most nouns are invented. A network that reads them must match words with labels
instead of learning the nouns, so it generalises to the label set of any detector.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from spatial3d_ros.english import plural
from spatial3d_ros.object_catalog import OBJECT_KINDS

INVENTED_SHARE = 0.35  # of rooms, with invented nouns
ANY_OBJECT = ("object", "item", "thing")
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


def invented_word(rng: random.Random) -> str:
    """A pronounceable word that is in no dictionary: "stroamel"."""
    middle = "".join(
        rng.choice(_VOWELS) + rng.choice("bdfglmnprstvz")
        for _ in range(rng.choice((0, 0, 1, 1, 2)))
    )
    return rng.choice(_ONSETS) + middle + rng.choice(_VOWELS) + rng.choice(_ENDS)


class ObjectNames:
    """Names of n objects (keys of OBJECT_KINDS). labels (n,): "" for an object without one.

    A noun means some objects strictly and others loosely: `masks` gives both, (n,) bool each.
    """

    def __init__(self, keys: Sequence[str], rng: random.Random) -> None:
        self.keys, self.rng = tuple(keys), rng
        self.nouns: dict[str, tuple[str, ...]] = {}
        self.broader: dict[str, tuple[str, ...]] = {}
        self.invented = rng.random() < INVENTED_SHARE
        heads = [invented_word(rng) for _ in range(4)]
        taken: set[str] = set()
        for key in sorted(set(keys)):
            kind = OBJECT_KINDS[key]
            self.nouns[key], self.broader[key] = kind.nouns, kind.broader
            if self.invented and key not in ("wall", "floor", "ceiling") and rng.random() < 0.85:
                word = invented_word(rng)
                head = rng.choice(heads) if rng.random() < 0.2 else ""
                if word not in taken and word not in heads:
                    self.nouns[key] = (f"{word} {head}".strip(),)
                    self.broader[key] = (head,) if head else ()
                    taken.add(word)
        common = {key: self._label(key) for key in sorted(set(keys))}
        self.labels = []
        for key in keys:
            label = common[key] if rng.random() < 0.92 else self._label(key)
            roll = rng.random()
            if roll < _UNLABELLED:
                label = ""
            elif roll < _UNLABELLED + _UNKNOWN and not self.invented:
                label = "object"
            self.labels.append(label)
        self._masks: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def _label(self, key: str) -> str:
        nouns = self.nouns[key]
        label = nouns[0] if self.rng.random() < 0.65 else self.rng.choice(nouns)
        return plural(label) if self.rng.random() < 0.03 else label

    def noun(self, index: int) -> str:
        """A noun that a user would choose for an object: mostly its label, or a synonym."""
        rng, key = self.rng, self.keys[index]
        label, roll = self.labels[index], rng.random()
        if roll < 0.5 and label in self.nouns[key]:
            return label
        if roll < 0.72 and self.broader[key]:
            return rng.choice(self.broader[key])
        if roll > 0.985:
            return rng.choice(ANY_OBJECT)
        return rng.choice(self.nouns[key])

    def masks(self, noun: str) -> tuple[np.ndarray, np.ndarray]:
        """(strict, loose): the objects that a noun means, and those it could mean."""
        if noun not in self._masks:
            if noun in (*ANY_OBJECT, "one"):
                strict = loose = dict.fromkeys(self.nouns, True)
            else:
                strict = {key: noun in nouns for key, nouns in self.nouns.items()}
                loose = {key: strict[key] or noun in self.broader[key] for key in self.nouns}
                if not any(strict.values()):  # "appliance": all kinds of them
                    strict = loose
            self._masks[noun] = (
                np.array([strict[key] for key in self.keys]),
                np.array([loose[key] for key in self.keys]),
            )
        return self._masks[noun]


def misspell(text: str, rng: random.Random) -> str:
    """One typing error within a word: a letter dropped, swapped or doubled."""
    positions = [i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha()]
    if not positions:
        return text
    i, roll = rng.choice(positions), rng.random()
    if roll < 0.4:
        return text[:i] + text[i + 1 :]
    if roll < 0.7:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i] + text[i:]
