"""Noise as people type: fillers, dropped articles and marks, slips, spelling variants."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from spatial3d_ros.research.query.grammar import phrases
from spatial3d_ros.tasks.query import MARKS, split_words
from spatial3d_ros.tasks.query_assembly import TaggedWord

_DROPPED = ("the", "a", "an", "is", "are", "my", "me", "of", "do", "it", "please")
_VARIANTS = {
    "gray": "grey", "grey": "gray", "you": "u", "are": "r", "please": "plz", "color": "colour",
    "colour": "color", "centre": "center", "what": "wht", "where": "wheres", "closest": "nearest",
    "the": "teh", "how": "hw", "there": "ther", "your": "ur", "next": "nxt", "to": "too",
}  # fmt: skip
_SAME = {"i'm": "im", "what's": "whats", "where's": "wheres", "don't": "dont", "can't": "cant"}


def noisy(
    words: Sequence[TaggedWord], rng: random.Random, split: str, *, fillers: bool = True
) -> Iterator[TaggedWord]:
    """The words as somebody might type them."""
    words = list(words)
    if fillers and rng.random() < 0.16:
        before = rng.choice(phrases("fillers_before", split)).split()
        mark = [TaggedWord(",")] if rng.random() < 0.4 else []
        words = [*map(TaggedWord, before), *mark, *words]
    if fillers and rng.random() < 0.1:
        words += map(TaggedWord, rng.choice(phrases("fillers_after", split)).split())
    if rng.random() < 0.4 and words and words[-1].word not in MARKS:
        words.append(TaggedWord(rng.choice("?????..!")))
    hurried, marks = rng.random() < 0.18, rng.random() < 0.6
    slips = 0.08 if hurried else 0.015 if rng.random() < 0.7 else 0.05
    if rng.random() < 0.05:
        slips = 0.3
    for k, item in enumerate(words):
        word = item.word
        if word in MARKS and not marks and k < len(words) - 1:
            continue
        dropped = hurried and word in _DROPPED and "pronoun" not in item.role and len(words) > 3
        if dropped and rng.random() < 0.65:
            continue
        if word in _VARIANTS and rng.random() < 0.02:
            word = _VARIANTS[word]
        if "'" in word and rng.random() < 0.15:
            word = _SAME.get(word, word.replace("'", ""))
        if word.isalpha() and len(word) > 3 and rng.random() < slips:
            word = slip(word, rng)
        for piece in split_words(word):
            yield replace(item, word=piece)


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
