"""Which nouns are known: the classes that the network names, labels in the map, and their synonyms.

A noun that is none of these is unknown, and nothing is pointed at, measured or moved for it. A
noun with a slip of typing is read as the known one next to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

from spatial3d_ros.categories import CATEGORIES, NOUNS
from spatial3d_ros.errors import QueryError


class UnknownWordError(QueryError):
    """A question uses a noun that neither the network nor any label in the map knows."""


ANYTHING = ("thing", "object", "item", "one", "something", "anything", "stuff", "piece", "")
SYNONYMS: dict[str, str] = {
    "sofa": "couch settee loveseat divan",
    "tv": "television telly tv_set tv_screen monitor screen display",
    "bin": "trash_can rubbish_bin wastebasket waste_bin dustbin garbage_can trash_bin "
    "waste_basket trashcan wastepaper_basket",
    "fridge": "refrigerator icebox freezer",
    "backpack": "rucksack knapsack school_bag schoolbag bag",
    "picture": "painting poster photo photograph artwork framed_picture",
    "nightstand": "bedside_table night_table night_stand bedside_cabinet",
    "cabinet": "cupboard sideboard dresser wardrobe closet chest_of_drawers locker",
    "plant": "potted_plant houseplant pot_plant flower tree",
    "pillow": "cushion",
    "shelf": "bookshelf bookcase shelving_unit rack shelving shelves",
    "armchair": "easy_chair lounge_chair recliner",
    "mug": "cup coffee_mug teacup coffee_cup beaker",
    "bottle": "flask water_bottle",
    "lamp": "light floor_lamp standing_lamp floor_light",
    "laptop": "notebook_computer notebook computer",
    "sink": "washbasin basin wash_basin kitchen_sink",
    "table": "dining_table coffee_table side_table",
    "desk": "writing_desk work_desk workbench",
    "box": "carton cardboard_box package parcel crate",
    "ball": "football basketball sphere",
    "book": "novel textbook paperback",
    "bowl": "dish",
    "stool": "barstool bar_stool footstool",
    "bed": "bedstead",
    "door": "doorway",
    "chair": "seat dining_chair",
}  # fmt: skip
HYPERNYMS: dict[str, str] = {
    "furniture": "table desk chair armchair sofa bed cabinet shelf nightstand stool",
    "seat": "chair armchair sofa stool",
    "seating": "chair armchair sofa stool",
    "container": "box bin bowl mug bottle vase backpack",
    "appliance": "fridge tv",
}


def _table() -> dict[str, tuple[str, ...]]:
    words: dict[str, set[str]] = {}
    for name in CATEGORIES:
        for noun in (name, *NOUNS.get(name, ()), *SYNONYMS.get(name, "").split()):
            words.setdefault(noun.replace("_", " "), set()).add(name)
    for noun, names in HYPERNYMS.items():
        words.setdefault(noun, set()).update(names.split())
    return {noun: tuple(sorted(names)) for noun, names in words.items()}


_CLASSES_OF = _table()


@lru_cache(maxsize=4096)
def singular(noun: str) -> str:
    """ "shelves" -> "shelf"."""
    for ending, instead in (
        ("shelves", "shelf"),
        ("knives", "knife"),
        ("ies", "y"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("sses", "ss"),
    ):
        if noun.endswith(ending) and len(noun) >= len(ending) + (ending == "ies"):
            return noun[: -len(ending)] + instead
    return (
        noun[:-1]
        if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and len(noun) > 3
        else noun
    )


class Vocabulary:
    """Nouns known for one object map: `labels` are those of its objects."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._labels = {label.lower(): label for label in labels if label}
        self._heads: dict[str, set[str]] = {}
        for label in self._labels:
            self._heads.setdefault(label.split()[-1], set()).add(label)

    def labels_of(self, noun: str) -> tuple[str, ...] | None:
        """Labels of objects that a noun can stand for; None for an unknown noun, all classes that
        the network names included whether the map has them or not.
        """
        for form in (noun, singular(noun)):
            found = set(_CLASSES_OF.get(form, ()))
            if form in self._labels:
                found.add(form)
            found |= self._heads.get(form, set()) if " " not in form else set()
            if found:
                return tuple(sorted(found))
        last = noun.split()[-1] if noun else ""
        return self.labels_of(last) if last != noun and last in self._labels else None

    def corrected(self, noun: str) -> str | None:
        """The known noun that an unknown one was meant to be: within one slip for four to seven
        letters, two for longer ones; None where there is none or it is not clear which.
        """
        if len(noun) < 4:
            return None
        known = [*_CLASSES_OF, *self._labels]
        limit = 1 if len(noun) < 8 else 2
        near = process.extract(
            singular(noun), known, scorer=DamerauLevenshtein.distance, score_cutoff=limit, limit=3
        )
        best = [word for word, distance, _ in near if distance == near[0][1]] if near else []
        classes = {self.labels_of(word) for word in best}
        return best[0] if len(classes) == 1 else None

    def names(self, limit: int = 8) -> Sequence[str]:
        """Some known nouns, those of the map first."""
        return [*self._labels, *(c for c in CATEGORIES if c not in self._labels)][:limit]

    @staticmethod
    def canonical(noun: str) -> str:
        """The noun as the network was trained on it: "settee" -> "sofa"."""
        classes = _CLASSES_OF.get(noun) or _CLASSES_OF.get(singular(noun)) or ()
        if len(classes) != 1:
            return noun
        usual = NOUNS.get(classes[0], (classes[0],))
        return noun if singular(noun) in usual or noun in usual else usual[0]


def is_anything(noun: str) -> bool:
    """Whether a noun stands for any object."""
    return singular(noun) in ANYTHING or re.fullmatch(r"it|that|this|them", noun) is not None
