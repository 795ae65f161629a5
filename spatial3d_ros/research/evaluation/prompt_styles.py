"""Prompt styles: the same question as one template, from a split of sentences, or as noisy typing.

Spatial 3D-LLM was trained and measured on templates and leaves open how far its answers depend on
them. `style_comparison.py` measures every style.
"""

from __future__ import annotations

import random
import re

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.homes.object_names import misspell
from spatial3d_ros.research.language.templates import TEMPLATE_SPLIT

NOISY = "hurried"
PROMPT_STYLES = {TEMPLATE_SPLIT: TEMPLATE_SPLIT, "train": "train", "test": "test", NOISY: "test"}
"""Each style and the split of its sentences. template: the first sentence of each family. train:
all training sentences. test: the held-out sentences. hurried: those with noise, see `noisy`.
"""
_DROPPED_ARTICLES = 0.7  # share
_MISSPELLED = 0.5  # share of sentences with one typing error


def split_of_style(style: str) -> str:
    """The split of a style's sentences. Raises ConfigError for an unknown style."""
    if style not in PROMPT_STYLES:
        raise ConfigError(f"prompt style '{style}' is unknown; use {', '.join(PROMPT_STYLES)}")
    return PROMPT_STYLES[style]


def apply_style(text: str, style: str, seed: int) -> str:
    """A question in its style; the same seed gives the same noise."""
    return noisy(text, random.Random(f"{seed} {text}")) if style == NOISY else text


def noisy(text: str, rng: random.Random) -> str:
    """A question in lower case, without punctuation and most articles, with typing errors."""
    text = re.sub(r"[?!.]+(?=\s|$)", "", text.lower())
    text = re.sub(
        r"\b(?:the|an?) ", lambda m: "" if rng.random() < _DROPPED_ARTICLES else m[0], text
    )
    return misspell(text, rng) if rng.random() < _MISSPELLED else text
