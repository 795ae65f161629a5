"""Prompts of an open-vocabulary detector: a fixed list, and nouns from recent questions."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from spatial3d_ros.sensors.detection_reader import clean_label
from spatial3d_ros.tasks.vocabulary import normalize

MAX_WORDS = 5  # a longer part of a question is rarely a noun phrase
# Words that carry the question or the reference; the remaining words are the noun phrase.
_STOP_TEXT = """
a an the this that these those my your our his her its their all any every each some several
where which what who how is are was were be do does did can could would there here it one ones
thing things object objects room find show tell me you us i we locate bring go far many much big
bigger biggest large larger largest small smaller smallest tall taller tallest short second
third first last other most color colour kind of please and or than m cm metres meters move put
place swap turn remove take away red green blue yellow orange purple pink white black gray grey
brown
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_RELATIONS = (
    r"\b(?:on|in|inside|under|underneath|below|beneath|above|over|next|near|nearest|nearer|close"
    r"|closest|closer|farthest|furthest|beside|by|at|behind|between|among|opposite|against|to|from"
    r"|left|right|front|with|without|that|which|where|who|standing|lying|seen|facing|not|but)\b"
)
_SPLIT = re.compile(rf"{_RELATIONS}|[^\w\s'-]|\band\b|\d+")


def noun_phrases(question: str) -> list[str]:
    """Noun phrases of a question in order: "mug" and "sink" of "where is the red mug next to the
    sink?".
    """
    found: list[str] = []
    for part in _SPLIT.split(normalize(clean_label(question, letters=500))):
        words = [word for word in part.split() if word not in _STOP_WORDS]
        phrase = " ".join(words)
        if phrase and len(words) <= MAX_WORDS and phrase not in found:
            found.append(phrase)
    return found


class PromptList:
    """The fixed prompts, then noun phrases of recent questions; at most `max_count` in all.

    Thread-safe.
    """

    def __init__(self, fixed: Sequence[str] = (), max_count: int = 16) -> None:
        self._fixed = [label for entry in fixed if (label := normalize(clean_label(entry)))]
        self._recent: list[str] = []
        self._max_count = max_count
        self._lock = threading.Lock()

    def add_question(self, question: str) -> bool:
        """Adds the noun phrases of a question; returns whether the prompts gained one."""
        with self._lock:
            before = set(self.current())
            for phrase in noun_phrases(question):
                if phrase in self._recent:
                    self._recent.remove(phrase)
                self._recent.append(phrase)
            del self._recent[: -self._max_count]
            return not before.issuperset(self.current())

    def current(self) -> tuple[str, ...]:
        """The prompts: fixed ones first, then those of questions, newest first."""
        return tuple(dict.fromkeys([*self._fixed, *reversed(self._recent)]))[: self._max_count]
