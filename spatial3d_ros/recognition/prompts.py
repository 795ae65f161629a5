"""What an open-vocabulary detector looks for: a fixed list, and what people ask about."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from spatial3d_ros.sensors.detection_reader import clean_label
from spatial3d_ros.tasks.label_prior import RELATIONS, words_of

MOST_WORDS = 5  # a longer piece of a question is hardly the name of a thing
# Words that say which one, or that belong to the question: what is left is the name of a thing.
_SPARE = """
a an the this that these those my your our his her its their all any every each some several
where which what who how is are was were be do does did can could would there here it one ones
thing things object objects room find show tell me you us i we locate bring go far many much big
bigger biggest large larger largest small smaller smallest tall taller tallest short second
third first last other most color colour kind of please and or than m cm metres meters move put
place swap turn remove take away red green blue yellow orange purple pink white black gray grey
brown
"""
_WORDS = frozenset(_SPARE.split())
_SPLIT = re.compile(rf"{RELATIONS.pattern}|[^\w\s'-]|\band\b|\d+")


def things_named(question: str) -> list[str]:
    """The things that a question names, in its order: "mug" and "sink" of "where is the red mug
    next to the sink?".
    """
    found: list[str] = []
    for part in _SPLIT.split(words_of(clean_label(question, letters=500))):
        words = [word for word in part.split() if word not in _WORDS]
        name = " ".join(words)
        if name and len(words) <= MOST_WORDS and name not in found:
            found.append(name)
    return found


class Prompts:
    """The fixed prompts, and the newest others that questions named; at most `max_count` in all.

    Thread-safe.
    """

    def __init__(self, fixed: Sequence[str] = (), max_count: int = 16) -> None:
        self._fixed = [label for entry in fixed if (label := words_of(clean_label(entry)))]
        self._asked: list[str] = []
        self._max_count = max_count
        self._lock = threading.Lock()

    def hear(self, question: str) -> bool:
        """Take a question; whether there is something new to look for."""
        with self._lock:
            before = set(self.current())
            for name in things_named(question):
                if name in self._asked:
                    self._asked.remove(name)
                self._asked.append(name)
            del self._asked[: -self._max_count]
            return not before.issuperset(self.current())

    def current(self) -> tuple[str, ...]:
        """What to look for now: fixed ones first, then those asked for, the newest first."""
        return tuple(dict.fromkeys([*self._fixed, *reversed(self._asked)]))[: self._max_count]
