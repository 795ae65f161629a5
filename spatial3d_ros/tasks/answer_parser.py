"""Strict readers of generated text: metres, counts, words. Anything else gives None."""

from __future__ import annotations

import re

_METRES = re.compile(r"([0-9]{1,3}\.[0-9]{2}) m")
_COUNT = re.compile(r"[0-9]{1,3}")
_WORDS = re.compile(r"[a-z0-9][a-z0-9 ,'-]*")


def read_metres(text: str) -> float | None:
    """Metres of "1.84 m", or None for any other text."""
    match = _METRES.fullmatch(text)
    return float(match[1]) if match else None


def read_count(text: str) -> int | None:
    """The number of "3", or None for any other text."""
    return int(text) if _COUNT.fullmatch(text) else None


def read_words(text: str) -> str | None:
    """Words, numbers, commas and hyphens as an answer has them, or None for any other text."""
    return text if _WORDS.fullmatch(text) else None
