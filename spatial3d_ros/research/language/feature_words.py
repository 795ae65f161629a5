"""Words of features of looks: adjectives before a noun, phrases after it."""

from __future__ import annotations

import random

from spatial3d_ros.research.language.features import Feature

# Adjectives of features (`features.Feature`), by kind and value; a value without an entry is one.
FEATURE_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("pattern", "checked"): ("checked", "checked", "checkered"),
    ("pattern", "dotted"): ("dotted", "dotted", "spotted", "polka dot"),
    ("pattern", "striped"): ("striped",),
    ("pattern", "plain"): ("plain",),
    ("material", "wood"): ("wooden", "wooden", "wood"),
    ("material", "paper"): ("paper",),
    ("shape", "L-shaped"): ("l-shaped",),
}
# After the noun; {c}: a color, {part}: "seat", {v}: "on".
PART_PHRASES = ("with the {c} {part}", "with a {c} {part}", "that has a {c} {part}")
PLURAL_PART_PHRASES = ("with the {c} {part}", "with {c} {part}", "that has {c} {part}")
SIDE_FEATURE_PHRASES = ("with the {c} side", "with a {c} side", "with one {c} side")
STATE_PHRASES = ("that is {v}", "that is switched {v}", "that is turned {v}")


def feature_words(feature: Feature) -> tuple[str, ...]:
    """Adjectives of a feature that stands before its noun."""
    return FEATURE_WORDS.get((feature.kind, feature.value), (feature.value,))


def after_noun(feature: Feature, color: str, rng: random.Random) -> str:
    """The phrase of a feature that follows its noun; `color` is the word for that of a part."""
    phrases = {
        "part": PLURAL_PART_PHRASES if feature.part.endswith("s") else PART_PHRASES,
        "side": SIDE_FEATURE_PHRASES,
    }.get(feature.kind, STATE_PHRASES)
    phrase = rng.choice(phrases)
    if color[:1] in "aeiou":
        phrase = phrase.replace(" a {c}", " an {c}")
    return phrase.format(c=color, part=feature.part, v=feature.value)
