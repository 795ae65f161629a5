"""Sentences with their typed queries, word by word: what the query reader learns from.

`QuerySentences(seed).draw()` fills a template (templates.yaml) with generated descriptions
and tags each word with its segment, role and predicate (`tasks/query.py`). Noise as people make it
follows: fillers, dropped articles, spelling slips, British and American spelling.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spatial3d_ros.categories import CATEGORIES, COLORS, NOUNS
from spatial3d_ros.research.homes.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.homes.object_names import invented_word, plural
from spatial3d_ros.storage import read_yaml
from spatial3d_ros.tasks.query import split_words

Word = tuple[str, str, str, str]  # word, segment, role, predicate

SHIFTS = {
    "towards": "towards", "toward": "towards", "closer to": "towards", "nearer to": "towards",
    "away from": "away",
}  # fmt: skip
"""Words of a shift that stand in a template itself."""

_ARTICLES = (
    ("the", "my", "this", "that", "your", "our", ""),
    (0.8, 0.05, 0.03, 0.03, 0.02, 0.02, 0.05),
)
HELD_OUT = 8  # every eighth template of an intent is kept for tests


@dataclass(frozen=True)
class Sentence:
    """A sentence as `words` with a segment, a role and a predicate each, and its `intent`."""

    words: tuple[Word, ...]
    intent: str

    @property
    def text(self) -> str:
        """The sentence, without marks."""
        return " ".join(word for word, *_ in self.words)


@cache
def _data() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("templates.yaml"))


@cache
def templates(split: str) -> dict[str, list[str]]:
    """Templates by intent, of the split `train` or `test`."""
    return {
        intent: [
            text
            for k, text in enumerate(texts)
            if (k % HELD_OUT == HELD_OUT - 1) == (split == "test")
        ]
        or texts
        for intent, texts in _data()["templates"].items()
    }


def _pairs(key: str) -> list[tuple[str, str]]:
    """(predicate, phrase) of a table."""
    return [(name, phrase) for name, phrases in _data()[key].items() for phrase in phrases]


@cache
def _nouns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nouns of the classes that the network names, and all others."""
    ours = [n for c in CATEGORIES for n in NOUNS.get(c, (c,))]
    others = [n for kind in OBJECT_KINDS.values() for n in kind.nouns]
    return tuple(ours), (*others, *_data()["words"]["nouns"])


def expand(template: str, rng: random.Random) -> str:
    """One of the sentences that optional parts and choices of a template allow."""
    while found := re.search(r"\[([^\[\]]*)\]|\(([^()]*)\)|(\w)\?", template):
        if found[1] is not None:
            part = found[1] if rng.random() < 0.4 else ""
        elif found[2] is not None:
            part = rng.choice(found[2].split("|"))
        else:
            part = found[3] if rng.random() < 0.5 else ""
        template = template[: found.start()] + part + template[found.end() :]
    return " ".join(template.split())


class QuerySentences:
    """Draws sentences of a split; the same seed gives the same ones."""

    def __init__(self, seed: int, split: str = "train") -> None:
        self.rng = random.Random(seed)
        self._templates = templates(split)
        weights = {
            "locate": 5.0,
            "edit.move": 3.0,
            "unsupported.other": 1.5,
            "unsupported.two": 1.5,
        }
        self._intents = [*self._templates, "unsupported.language"]
        self._weights = [weights.get(intent, 1.0) for intent in self._intents]
        self._words: dict[str, list[str]] = _data()["words"]
        self._modifiers = [*COLORS, *COLORS, *self._words["modifiers"]]

    def draw(self) -> Sentence:
        """One sentence."""
        rng = self.rng
        intent = rng.choices(self._intents, self._weights)[0]
        if intent == "unsupported.language":
            text = rng.choice(_data()["foreign"])
            while "{f}" in text:
                text = text.replace("{f}", rng.choice(_data()["foreign_nouns"]), 1)
            return Sentence(tuple(_untagged(split_words(text))), intent)
        words = self._fill(expand(rng.choice(self._templates[intent]), rng))
        if intent == "unsupported.two":
            words = _untagged(word for word, *_ in words)
        return Sentence(tuple(self._noise(words, intent)), intent)

    def _fill(self, template: str) -> list[Word]:
        words: list[Word] = []
        segments = {"t": "target", "u": "second", "v": "third", "w": "view"}
        for part in template.split():
            found = re.fullmatch(r"\{(\w+)\}(.*)", part)
            if not found:
                words += _untagged([part])
                continue
            slot, tail = found.groups()
            if slot == "k":
                made = self._anchor("target")
            elif slot == "x":
                made = self._described("x", "target")
            elif slot[0] in segments:
                made = self._described(slot[1:], segments[slot[0]])
            else:
                made = self._other(slot)
            made[-1] = (made[-1][0] + tail, *made[-1][1:])
            words += made
        return self._shifts(words)

    def _other(self, slot: str) -> list[Word]:
        rng = self.rng
        tables = {
            "r": ("relation", "relation", "edit_relations", None),
            "rel1": ("target", "relation", "relations", None),
            "rel2": ("relation", "relation", "relations", None),
            "close": ("target", "relation", "relations", ("closest", "farthest")),
            "dir": ("relation", "relation", "directions", None),
            "sup0": ("target", "superlative", "superlatives", None),
        }
        if slot in tables:
            segment, role, key, names = tables[slot]
            pairs = [
                (name, phrase)
                for name, phrase in _pairs(key)
                if (names is None or name in names) and name not in ("between", "with")
            ]
            predicate, text = rng.choice(pairs)
            return [(w, segment, role, predicate) for w in text.split()]
        if slot == "floor":
            text = rng.choice(_data()["floor_phrases"])
            return [(w, "relation", "relation", "floor") for w in text.split()]
        if slot == "n":
            number, unit = (rng.choice(self._words[key]) for key in ("numbers", "units"))
            joined = rng.random() < 0.15 and number[0].isdigit()
            return _tagged(number + unit if joined else f"{number} {unit}", "number")
        if slot == "deg":
            unit = rng.choice((" degrees", " degrees", "", " deg", "\u00b0"))
            return _tagged(rng.choice(self._words["angles"]) + unit, "number")
        if slot == "c":
            return _tagged(rng.choice((*COLORS, "grey", "pink", "beige")), "color")
        region = slot == "g"
        return _tagged(
            rng.choice(self._words["regions" if region else "times"]),
            "region" if region else "time",
        )

    def _shifts(self, words: list[Word]) -> list[Word]:
        """Words of a shift that stand in the template itself get their predicate."""
        for k, (word, segment, *_) in enumerate(words):
            if segment != "none":
                continue
            pair = f"{word} {words[k + 1][0]}" if k + 1 < len(words) else ""
            for text, predicate in SHIFTS.items():
                if text == pair or (text == word and word != "off"):
                    for j in range(k, k + len(text.split())):
                        words[j] = (words[j][0], "relation", "relation", predicate)
        return words

    def _noun(self, many: bool) -> str:
        rng = self.rng
        ours, others = _nouns()
        draw = rng.random()
        noun = (
            rng.choice(ours)
            if draw < 0.45
            else rng.choice(others)
            if draw < 0.85
            else invented_word(rng)
        )
        return plural(noun) if many else noun

    def _nominal(
        self, segment: str, roles: tuple[str, str], *, many: bool = False, few: bool = False
    ) -> list[Word]:
        rng = self.rng
        count = (
            rng.choices((0, 1, 2), (0.55, 0.38, 0.07))[0]
            if not few
            else rng.choices((0, 1), (0.75, 0.25))[0]
        )
        words = [(m, segment, roles[1], "none") for m in rng.sample(self._modifiers, count)]
        return words + [(w, segment, roles[0], "none") for w in self._noun(many).split()]

    def _described(self, kind: str, segment: str) -> list[Word]:
        """A description: `kind` "" definite, "p" plural, "b" without article, "s" bare plural, "a"
        indefinite, "1" without relations, "b1" both, "x" with an outermost superlative.
        """
        rng = self.rng
        many, bare, simple = kind in ("p", "s"), kind in ("b", "s", "b1"), kind in ("1", "b1")
        article = "" if bare else "a" if kind == "a" else rng.choices(*_ARTICLES)[0]
        if kind == "a":
            article = rng.choice(("a", "a", "any", "an", "some"))
        if kind == "p":
            article = rng.choice(("the", "all", "all the", "both", "the", "all of the"))
        words = [(w, segment, "none", "none") for w in article.split()]
        if not simple and rng.random() < (1.0 if kind == "x" else 0.1):
            if rng.random() < 0.2:
                words.append((rng.choice(self._words["ordinals"]), segment, "ordinal", "none"))
            else:
                predicate, text = rng.choice(_pairs("superlatives"))
                words.append((text, segment, "superlative", predicate))
        head = self._nominal(segment, ("head", "modifier"), many=many, few=simple)
        if not simple and not many and rng.random() < 0.05:
            head = [
                (w, segment, "none", "none") for w in rng.choice(("one", "thing", "object")).split()
            ]
        words += head
        if not simple and rng.random() < 0.06:
            words += [(w, segment, "none", "none") for w in ("that", "is")]
            words.append((rng.choice(self._modifiers), segment, "modifier", "none"))
        if not simple and kind != "x":
            for _ in range(rng.choices((0, 1, 2), (0.66, 0.28, 0.06))[0]):
                words += self._relation(segment)
            if rng.random() < 0.04:
                lead = rng.choice(("seen from", "as seen from", "viewed from", "when looking from"))
                words += [(w, segment, "relation", "none") for w in lead.split()]
                words += [
                    ("the", segment, "none", "none"),
                    *self._nominal(segment, ("viewpoint", "viewpoint"), few=True),
                ]
        return words

    def _relation(self, segment: str) -> list[Word]:
        rng = self.rng
        if rng.random() < 0.06:
            predicate, text = rng.choice(
                (
                    ("corner", "in the corner"),
                    ("middle", "in the middle of the room"),
                    ("floor", "on the floor"),
                    ("left", "on the left"),
                    ("right", "on the right"),
                )
            )
            return [(w, segment, "relation", predicate) for w in text.split()]
        predicate, text = rng.choice(_pairs("relations"))
        negated = rng.random() < 0.05 and predicate in ("on", "next_to", "near", "under", "in")
        words = [(w, segment, "negation", "none") for w in ("not",) if negated]
        words += [(w, segment, "relation", predicate) for w in text.split()]
        for k in range(2 if predicate == "between" else 1):
            words += [("and", segment, "none", "none")] * (k > 0)
            words += self._anchor(segment)
        return words

    def _anchor(self, segment: str) -> list[Word]:
        article = self.rng.choices(("the", "a", "my", ""), (0.85, 0.07, 0.04, 0.04))[0]
        words: list[Word] = [(article, segment, "none", "none")] * bool(article)
        return words + self._nominal(segment, ("anchor", "anchor_modifier"), few=True)

    def _noise(self, words: list[Word], intent: str) -> Iterable[Word]:
        rng = self.rng
        if not intent.startswith("unsupported.greeting"):
            if rng.random() < 0.12:
                words = _untagged(rng.choice(self._words["fillers_before"]).split()) + words
            if rng.random() < 0.08:
                words = words + _untagged(rng.choice(self._words["fillers_after"]).split())
        hurried = rng.random() < 0.15
        for word, segment, role, predicate in words:
            if hurried and word in ("the", "a", "an", "is", "my") and rng.random() < 0.7:
                continue
            if rng.random() < (0.08 if hurried else 0.015) and len(word) > 3:
                word = slip(word, rng)
            if word == "gray" and rng.random() < 0.3:
                word = "grey"
            yield word, segment, role, predicate


def _untagged(words: Iterable[str]) -> list[Word]:
    return [(word, "none", "none", "none") for word in words]


def _tagged(text: str, segment: str) -> list[Word]:
    return [(word, segment, "none", "none") for word in text.split()]


def slip(word: str, rng: random.Random) -> str:
    """A word with one slip of typing: two letters swapped, one dropped, doubled or replaced."""
    k = rng.randrange(len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    if kind == 1:
        return word[:k] + word[k + 1 :]
    if kind == 2:
        return word[: k + 1] + word[k:]
    return word[:k] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[k + 1 :]
