"""Typed queries: what a sentence asks for (docs/INTERFACES.md, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

INTENTS = (
    "locate", "locate_all", "distance", "robot_distance", "compare", "compare_far", "compare_size",
    "compare_small", "count", "exists", "attribute.color", "attribute.material",
    "attribute.pattern", "attribute.state", "is_attribute", "size.height", "size.width",
    "size.length", "size.depth", "size.volume", "size.all", "what_on", "anything_on", "what_near",
    "what_in", "support", "describe", "list", "edit.move", "edit.place", "edit.swap",
    "edit.remove", "edit.remove_all", "edit.turn", "last_seen", "when_seen", "changed", "missing",
    "moved", "region_of", "follow_up", "unsupported.language", "unsupported.greeting",
    "unsupported.other", "unsupported.two", "unsupported.nonsense",
)  # fmt: skip
"""What a sentence asks for. compare: which of two is closer to a third; compare_far: farther;
compare_size, compare_small: which of two is larger, smaller; is_attribute: whether an object has a
colour, material, pattern or state; anything_on: whether something is on it; edit.remove_all: clear
a surface or remove all of a kind; follow_up: the last question again, for another object ("and the
lamp?").
"""
SEGMENTS = (
    "none", "target", "second", "third", "view", "relation", "number", "size", "region", "time",
    "color",
)  # fmt: skip
"""Which part of the query a word belongs to; "color": the value that is asked about."""
ROLES = (
    "none", "head", "modifier", "excluded", "superlative", "ordinal", "quantifier", "pronoun",
    "relation", "subrelation", "anchor", "anchor_modifier", "anchor_pronoun", "viewpoint",
    "negation",
)  # fmt: skip
"""What a word does inside its description. excluded: a modifier that is denied ("not red");
subrelation: a relation of the anchor before it, not of the head.
"""
PREDICATES = (
    "none", "on", "under", "above", "below", "next_to", "near", "closest", "farthest", "between",
    "left", "right", "front", "behind", "in", "opposite", "facing", "corner", "middle", "towards",
    "away", "to_left", "to_right", "up", "down", "forward", "back", "largest", "smallest",
    "tallest", "shortest", "longest", "leftmost", "rightmost", "with", "floor", "wall",
    "clockwise", "counterclockwise", "x", "y", "z", "minus_x", "minus_y", "minus_z",
)  # fmt: skip
"""Relations, superlatives and directions."""


@dataclass(frozen=True)
class RelationPhrase:
    """A relation of a description: `predicate` to the `anchors`, which may have relations of their
    own. None for "in the corner", "in the middle", "on the floor", and for "left" or "right" of
    the view.
    """

    predicate: str
    anchors: tuple[Description, ...]
    negated: bool = False


@dataclass(frozen=True)
class Description:
    """A noun phrase: `text` as written, `head` its noun ("" for "one", "thing" or "it"),
    `modifiers`, those that are `excluded` ("not red"), a `superlative` (a name of PREDICATES or
    ""), an `ordinal` (0: none), `quantifier` as written ("all", "both", "three", ""). pronoun: it
    refers to the conversation ("it", "that one"). viewpoint: words of the object from which sides
    are seen, "" for the camera; faced: words of what is looked at ("facing the bed").
    """

    text: str
    head: str
    modifiers: tuple[str, ...] = ()
    superlative: str = ""
    ordinal: int = 0
    relations: tuple[RelationPhrase, ...] = ()
    viewpoint: str = ""
    faced: str = ""
    excluded: tuple[str, ...] = ()
    quantifier: str = ""
    pronoun: bool = False


@dataclass(frozen=True)
class ParsedQuery:
    """A sentence, read. `targets`: one description, two for distances and swaps, three for
    comparisons of distance (which of the last two is closer to the first).
    `relation`: of an edit, a name of PREDICATES; the anchors are the further targets. `metres` and
    `degrees`: amounts of an edit; degrees as written, `relation` is then "clockwise",
    "counterclockwise" or "". `size`: full extents (m) of a new object. `color`: the value asked
    about: a colour, material, pattern or state. `viewpoint`: of an edit. `confidence`: the
    reader's probability of its intent.
    """

    text: str
    intent: str
    targets: tuple[Description, ...] = ()
    relation: str = ""
    metres: float | None = None
    degrees: float | None = None
    size: tuple[float, float, float] | None = None
    color: str = ""
    region: str = ""
    time: str = ""
    viewpoint: str = ""
    confidence: float = 1.0
    corrections: tuple[tuple[str, str], ...] = ()


MARKS = ".?!,;:"


def split_words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, one of a run of marks. Hyphens, apostrophes, decimal
    points and the sign of a number stay in their word.
    """
    return re.findall(
        r"(?<!\w)[-+]?\d+(?:[.,]\d+)*[^\W\d_]*\u00b0?|[^\W_]+(?:['\u2019-][^\W_]+)*"
        r"|[.?!,;:](?![.?!,;:])",
        text.lower(),
    )
