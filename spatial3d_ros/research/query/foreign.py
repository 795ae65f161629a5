"""Sentences that are no English: composed in Latin script, random letters of other scripts."""

from __future__ import annotations

import random
import re
from functools import cache

from spatial3d_ros.research.homes.object_names import invented_word
from spatial3d_ros.research.query.grammar import drawn, kept, table

_SCRIPTS = (
    (0x430, 0x44F), (0x3B1, 0x3C9), (0x627, 0x64A), (0x5D0, 0x5EA), (0x905, 0x939),
    (0xE01, 0xE2E), (0x4E00, 0x9FA5), (0x3041, 0x3096), (0x30A1, 0x30FA), (0xAC00, 0xD7A3),
    (0x531, 0x556), (0x10D0, 0x10F0), (0x995, 0x9B9), (0x1200, 0x1248),
)  # fmt: skip
"""First and last letters: Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai, Han, Hiragana,
Katakana, Hangul, Armenian, Georgian, Bengali, Ethiopic.
"""


def foreign_sentence(rng: random.Random, split: str) -> str:
    """A sentence of words and marks that is no English."""
    if rng.random() < 0.12:
        return _other_script(rng)
    names = list(_language_names())
    parts = _language(rng.choice(names), split)
    if rng.random() < 0.15:
        words = parts["w"] + parts["n"]
        text = " ".join(rng.choice(words) for _ in range(rng.randint(3, 8)))
    else:
        text = rng.choice(parts["q"])
    while (at := re.search(r"\{(\w)\}", text)) is not None:
        noun = rng.choice(parts[at[1]])
        if at[1] == "n" and rng.random() < 0.12:
            noun = f"{noun.split()[0]} {invented_word(rng)}" if " " in noun else invented_word(rng)
        if at[1] == "n" and rng.random() < 0.2:
            noun += f" {rng.choice(parts['a'])}"
        text = text[: at.start()] + noun + text[at.end() :]
    if rng.random() < 0.15:
        text = f"{rng.choice(parts['o'])} {rng.choice((',', ''))} {text}"
    if rng.random() < 0.15:
        text += f" {rng.choice(parts['t'])}"
    if rng.random() < 0.15:  # without accents
        text = text.translate(str.maketrans("áàâãäéèêëíìîïóòôõöúùûüçñ", "aaaaaeeeeiiiiooooouuuucn"))
    return " ".join(text.replace("-", " ").split()) if rng.random() < 0.1 else text


@cache
def _language_names() -> tuple[str, ...]:
    return tuple(table("languages"))


@cache
def _language(name: str, split: str) -> dict[str, tuple[str, ...]]:
    parts = {
        key: tuple(entry.strip() for entry in text.split(";"))
        for key, text in table("languages")[name].items()
    }
    others = {key: drawn(texts, split) for key, texts in parts.items() if key not in ("q", "w")}
    words = tuple(parts["w"][0].split())
    return {"q": kept(parts["q"], split), "w": drawn(words, split), **others}


def _other_script(rng: random.Random) -> str:
    first, last = rng.choice(_SCRIPTS)
    return " ".join(
        "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 8)))
        for _ in range(rng.randint(1, 6))
    )
