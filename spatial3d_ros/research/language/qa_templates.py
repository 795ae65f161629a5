"""Templates of questions with free-form answers, by family, and templates of the answers.

Nouns and descriptions are those of `templates`. The templates of "train" and "test" are disjoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

from spatial3d_ros.categories import nouns
from spatial3d_ros.english import enumeration, plural, with_article
from spatial3d_ros.research.language.feature_words import feature_words
from spatial3d_ros.research.language.features import Feature, features, is_patterned
from spatial3d_ros.research.language.templates import COLOR_WORDS

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.catalog import RoomObject

OBJECT_SLOT = "{object}"
"""Replaced in a caption's question: by a box as text, or by an object token."""

# {a}, {b}, {np}: "the red mug"; {ns}: "red mugs"; {a_n}: "a red mug"; {r} {a}, {p}: "on the table"
QA_TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "surface": (
            "what is the gap between {a} and {b}?", "how big is the gap between {a} and {b}?",
            "how much space is there between {a} and {b}?", "the gap between {a} and {b}",
            "what is the shortest distance between {a} and {b}?",
            "how much free space is between {a} and {b}?", "measure the gap between {a} and {b}",
            "what is the clearance between {a} and {b}?",
            "what is the surface distance from {a} to {b}?",
        ),
        "center": (
            "what is the centre distance between {a} and {b}?",
            "what is the center distance from {a} to {b}?",
            "the centre distance between {a} and {b}",
            "measure the center distance from {a} to {b}",
            "tell me the centre distance between {a} and {b}",
        ),
        "things": (
            "what is {r} {a}?", "what is {r} {a}?", "what things are {r} {a}?",
            "what can you see {r} {a}?", "what is there {r} {a}?", "tell me what is {r} {a}",
            "what do you find {r} {a}?", "what objects are {r} {a}?",
        ),
        "count": (
            "how many {ns} are there?", "how many {ns} are there?", "how many {ns} do you see?",
            "count the {ns}", "how many {ns} can you see?", "how many {ns} are in the room?",
            "what is the number of {ns}?", "tell me how many {ns} there are",
        ),
        "count with relation": (
            "how many {ns} are {p}?", "how many {ns} are {p}?", "how many {ns} are there {p}?",
            "count the {ns} {p}", "how many {ns} do you see {p}?",
        ),
        "color": (
            "what colour is {np}?", "what color is {np}?", "what is the colour of {np}?",
            "what is the color of {np}?", "which colour does {np} have?", "which color is {np}?",
            "tell me the colour of {np}",
        ),
        "material": (
            "what is {np} made of?", "what material is {np}?", "which material is {np} made of?",
            "what is the material of {np}?",
        ),
        "pattern": (
            "what pattern does {np} have?", "what is the pattern of {np}?",
            "is {np} striped, checked, dotted or plain?", "which pattern is on {np}?",
        ),
        "shape": (
            "what shape is {np}?", "what shape does {np} have?", "what is the shape of {np}?",
        ),
        "state": ("is {np} {yes} or {no}?", "is {np} {yes} or is it {no}?", "{np}, {yes} or {no}?"),
        "exists": (
            "is there {a_n}?", "is there {a_n} in the room?", "is there {a_n} here?",
            "are there any {ns}?", "can you see any {ns}?", "is there any {n}?",
        ),
        "exists with relation": (
            "is there {a_n} {p}?", "is there {a_n} {p}?", "is {a_n} {p}?",
            "are there any {ns} {p}?",
        ),
        "bigger": (
            "which is {more}, {a} or {b}?", "which one is {more}, {a} or {b}?",
            "what is {more}, {a} or {b}?", "is {a} or {b} {more}?",
        ),
        "caption": (
            "describe {object}", "describe {object}, please", "what is {object}?",
            "tell me about {object}", "what can you say about {object}?",
        ),
    },
    "test": {
        "surface": (
            "how wide is the gap between {a} and {b}?",
            "how large is the space between {a} and {b}?",
            "how much clearance is there between {a} and {b}?",
            "tell me the gap between {a} and {b}", "what is the free space between {a} and {b}?",
        ),
        "center": (
            "please tell me the centre distance from {a} to {b}",
            "can you measure the center distance between {a} and {b}?",
            "what is the centre distance from {a} to {b}?",
        ),
        "things": (
            "what do you see {r} {a}?", "which things are {r} {a}?",
            "what things do you see {r} {a}?",
            "can you tell me what is {r} {a}?",
        ),
        "count": (
            "can you count the {ns}?", "how many {ns} are here?", "please count the {ns}",
            "how many {ns} can you find?", "tell me the number of {ns}",
        ),
        "count with relation": (
            "can you count the {ns} {p}?", "how many {ns} can you see {p}?",
            "tell me how many {ns} are {p}",
        ),
        "color": (
            "can you tell me the colour of {np}?", "tell me what color {np} is",
            "what colour does {np} have?", "which colour is {np}?",
        ),
        "material": ("can you tell me what {np} is made of?", "tell me the material of {np}"),
        "pattern": ("which pattern does {np} have?", "tell me the pattern of {np}"),
        "shape": ("which shape does {np} have?", "tell me the shape of {np}"),
        "state": ("can you see if {np} is {yes} or {no}?", "tell me if {np} is {yes} or {no}"),
        "exists": (
            "can you see {a_n} in the room?", "are there any {ns} here?", "is any {n} here?",
            "are there any {ns} in the room?",
        ),
        "exists with relation": (
            "is there any {n} {p}?", "can you see any {ns} {p}?", "are any {ns} {p}?",
        ),
        "bigger": (
            "tell me which is {more}, {a} or {b}", "of {a} and {b}, which is {more}?",
            "can you tell me which one is {more}, {a} or {b}?",
        ),
        "caption": (
            "please describe {object}", "can you describe {object}?",
            "can you tell me about {object}?",
        ),
    },
}  # fmt: skip
# Comparatives of the superlatives of `relations.SIZES`.
MORE = {
    "largest": ("bigger", "larger"), "smallest": ("smaller",), "tallest": ("taller", "higher"),
    "shortest": ("lower",),
}  # fmt: skip
SHORT_RELATION_PHRASES = {
    "on": ("on", "on", "on top of"), "under": ("under", "underneath", "beneath"),
    "next_to": ("next to", "beside", "near"), "above": ("above", "over"), "below": ("below",),
}  # fmt: skip
NOTHING = "nothing"


def color_answers(color: str, other: str = "") -> tuple[str, ...]:
    """Correct answers to a question for a color, or for the two of a pattern; the first is the
    training target.
    """
    words = COLOR_WORDS.get(color, (color,))
    if not other:
        return words
    others = COLOR_WORDS.get(other, (other,))
    pairs = [(a, b) for a in words for b in others]
    return tuple(f"{a} and {b}" for a, b in [*pairs, *((b, a) for a, b in pairs)])


def list_answers(categories: Sequence[str]) -> tuple[str, ...]:
    """Correct answers to "what is ...": "2 books and a vase", in any order, alphabetical first."""
    counts = sorted(Counter(categories).items())
    items = [
        f"{n} {plural(nouns(category)[0])}" if n > 1 else with_article(nouns(category)[0])
        for category, n in counts
    ]
    return tuple(enumeration(order) for order in permutations(items)) if items else (NOTHING,)


def look_words(item: RoomObject) -> str:
    """Color, pattern or material, class and what is special of an object: "red and white striped
    pillow", "brown wooden box with a blue side".
    """
    said = [f for f in features(item) if f.kind != "shape" or f.value in _SAID_SHAPES]
    before = [feature_words(f)[0] for f in said if _in_caption(f, item) and not f.after_noun]
    after = [f for f in said if f.kind in ("part", "side")]
    color = color_answers(item.color, item.look.pattern_color if item.look else "")[0]
    noun = " ".join([color, *before, nouns(item.category)[0]])
    for feature in after:
        phrase = f"{feature.value} {feature.part or 'side'}"
        noun += f" with {phrase if feature.part.endswith('s') else with_article(phrase)}"
    return noun


_SAID_SHAPES = ("round", "oval", "L-shaped")


def _in_caption(feature: Feature, item: RoomObject) -> bool:
    """A pattern goes before a material, and nobody calls a thing plain or shut."""
    patterned = is_patterned(item)
    return {
        "pattern": patterned,
        "material": not patterned,
        "shape": True,
        "state": feature.value in ("open", "empty", "full"),
    }.get(feature.kind, False)


def caption(color: str, category: str, relation: str = "") -> str:
    """ "a red mug on a white table"."""
    return f"{with_article(f'{color} {nouns(category)[0]}')}{f' {relation}' if relation else ''}"
