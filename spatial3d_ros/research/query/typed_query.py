"""Typed queries: what a sentence asks for (docs/INTERFACES.md, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

INTENTS = (
    "locate", "locate_all", "distance", "robot_distance", "compare", "compare_far", "compare_size",
    "compare_small", "count", "exists", "attribute.color", "is_attribute", "size.height",
    "size.width", "size.length", "size.all", "what_on", "anything_on", "what_near", "what_in",
    "support", "describe", "list", "edit.move", "edit.place", "edit.swap", "edit.remove",
    "edit.remove_all", "edit.turn", "last_seen", "when_seen", "changed", "missing", "moved",
    "region_of", "unsupported.language", "unsupported.greeting", "unsupported.other",
    "unsupported.two",
)  # fmt: skip
SEGMENTS = (
    "none",
    "target",
    "second",
    "third",
    "view",
    "relation",
    "number",
    "region",
    "time",
    "color",
)
"""Which part of the query a word belongs to."""
ROLES = (
    "none", "head", "modifier", "superlative", "ordinal", "relation", "anchor", "anchor_modifier",
    "viewpoint", "negation",
)  # fmt: skip
"""What a word does inside its description."""
PREDICATES = (
    "none", "on", "under", "above", "below", "next_to", "near", "closest", "farthest", "between",
    "left", "right", "front", "behind", "in", "opposite", "corner", "middle", "towards", "away",
    "to_left", "to_right", "up", "down", "forward", "back", "largest", "smallest", "tallest",
    "shortest", "longest", "leftmost", "rightmost", "with", "floor", "clockwise",
    "counterclockwise",
)  # fmt: skip
"""Relations, superlatives and directions."""


@dataclass(frozen=True)
class RelationPhrase:
    """A relation of a description: `predicate` to the `anchors` (head nouns with modifiers), seen
    from `viewpoint` ("" for the camera).
    """

    predicate: str
    anchors: tuple[Description, ...]
    negated: bool = False


@dataclass(frozen=True)
class Description:
    """A noun phrase: `text` as the reader takes it to the network, `head` its noun ("" for "one" or
    "it"), `modifiers`, a `superlative` (a name of PREDICATES or "") and an `ordinal` (0: none).
    """

    text: str
    head: str
    modifiers: tuple[str, ...] = ()
    superlative: str = ""
    ordinal: int = 0
    relations: tuple[RelationPhrase, ...] = ()
    viewpoint: str = ""


@dataclass(frozen=True)
class ParsedQuery:
    """A sentence, read. `targets`: one description, two for distances and swaps, three for
    comparisons. `relation`: of an edit, a name of PREDICATES. `metres` and `degrees`: amounts of
    an edit. `confidence`: the reader's probability of its intent.
    """

    text: str
    intent: str
    targets: tuple[Description, ...] = ()
    relation: str = ""
    metres: float | None = None
    degrees: float | None = None
    color: str = ""
    region: str = ""
    time: str = ""
    viewpoint: str = ""
    confidence: float = 1.0
    corrections: tuple[tuple[str, str], ...] = ()


def split_words(text: str) -> list[str]:
    """Lower-case words without punctuation; hyphens, apostrophes and decimal points stay."""
    return re.findall(
        r"[^\W_]+(?:['\u2019.,-][^\W_]+)*\u00b0?|-?\d+(?:[.,]\d+)?\u00b0?", text.lower()
    )
