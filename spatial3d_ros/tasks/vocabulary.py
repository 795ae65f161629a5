"""Which nouns are known: the classes that the network names, labels in the map, and their synonyms.

A noun that is none of these is unknown, and nothing is pointed at, measured or moved for it. A word
with a slip of typing is read as the known one next to it. Synonyms come from a reviewed list
(`word_lists.py`) and from WordNet (`resource/nouns.yaml`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

from spatial3d_ros.categories import CATEGORIES, look_name, nouns
from spatial3d_ros.english import singular
from spatial3d_ros.errors import QueryError
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.resources import resource_path
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.storage import read_yaml
from spatial3d_ros.tasks.word_lists import (
    ANYTHING,
    HYPERNYMS,
    MODIFIER_WORDS,
    PRONOUNS,
    PURPOSES,
    SYNONYMS,
)

if TYPE_CHECKING:
    from spatial3d_ros.memory.object_memory import ObjectMemory


class UnknownWordError(QueryError):
    """A question uses a noun that neither the network nor any label in the map knows."""


@lru_cache(maxsize=8)
def _tables(classes: tuple[str, ...]) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Of each known noun the classes that it can stand for; and words next to known ones that are
    no slips of them. A noun that is a class of its own stands for that alone.
    """
    made = read_yaml(resource_path("nouns.yaml"))
    words: dict[str, set[str]] = {name: {name} for name in classes}
    for name in classes:
        for noun in nouns(name):
            words.setdefault(noun, set()).add(name)
    extra: dict[str, set[str]] = {}
    for name, text in SYNONYMS.items():
        for noun in text.split():
            extra.setdefault(noun.replace("_", " "), set()).add(name)
    for noun, names in HYPERNYMS.items():
        kinds = (name.replace("_", " ") for name in names.split())
        extra.setdefault(noun.replace("_", " "), set()).update(kinds)
    for name, text in made["synonyms"].items():
        for noun in text.split(", "):
            extra.setdefault(noun, {name})
    for noun, meant in extra.items():
        if noun not in classes and (found := meant & set(classes)):
            words.setdefault(noun, set()).update(found)
    table = {noun: tuple(sorted(names)) for noun, names in words.items()}
    return table, frozenset(made["other_words"].split()) - table.keys()


class Vocabulary:
    """Nouns known for one object map: `labels` are those of its objects, `classes` those that the
    network names, `recognised` the labels that a recogniser gave, whose words are coarser than a
    person's at times, `regions` the names of the regions of the memory.
    """

    def __init__(
        self,
        labels: Iterable[str],
        classes: Sequence[str] = tuple(CATEGORIES),
        recognised: Iterable[str] = (),
        regions: Iterable[str] = (),
    ) -> None:
        self.regions = frozenset(regions)
        self._labels = {normalize(label): label for label in labels if label}
        self._recognised = {normalize(label) for label in recognised if label}
        self._heads: dict[str, set[str]] = {}
        for label in self._labels:
            self._heads.setdefault(label.split()[-1], set()).add(label)
        self._names = tuple(classes)
        self._classes, self._other_words = _tables(self._names)

    @classmethod
    def of_map(
        cls,
        objects: Sequence[SceneObject],
        memory: ObjectMemory | None = None,
        classes: Sequence[str] = tuple(CATEGORIES),
    ) -> Vocabulary:
        """The nouns of the objects of a map, and the labels and regions of a memory."""
        labels = [name for known in objects for name in known.nouns]
        recognised = [
            name for known in objects if known.label_from_detector for name in known.nouns
        ]
        if memory is None:
            return cls(labels, classes, recognised)
        regions = [region.name for region in memory.regions]
        return cls([*labels, *memory.index.labels], classes, recognised, regions)

    def labels_of(self, noun: str) -> tuple[str, ...] | None:
        """Labels of objects that a noun can stand for, synonyms in the map included ("couch" for
        "sofa"), no others for one with modifiers that is a label ("coffee table"); None for an
        unknown noun, all classes that the network names included whether the map has them or not.
        Where the map has none of these, narrower labels ("bookshelf" for "shelf") and the broader
        words of a recogniser ("table" for "desk").
        """
        found = self._named(noun)
        if self._labels.keys().isdisjoint(found or ()):
            kinds = {name.replace("_", " ") for name in HYPERNYMS.get(singular(noun), "").split()}
            kinds = kinds.intersection(self._names) | self._narrower(noun)
            found = tuple(sorted(kinds.union(found or ()))) or found
        if self._recognised and self._labels.keys().isdisjoint(found or ()):
            return tuple(sorted(self._broader(noun).union(found or ()))) or found
        return found

    def _narrower(self, noun: str) -> set[str]:
        """Labels of one word that end with a noun or a synonym of it, which the catalog calls
        broader: "bookshelf" of "shelf", but not "detergent" of "bottle".
        """
        forms = {noun, singular(noun)}
        forms |= {
            n for form in forms for k in _kinds().get(form, ()) for n in OBJECT_KINDS[k].nouns
        }
        return {
            label
            for label in self._labels
            if any(
                label.endswith(tuple(forms & {*OBJECT_KINDS[k].broader}))
                for k in _kinds().get(label, ())
            )
        }

    def _broader(self, noun: str) -> set[str]:
        """Labels of a recogniser that mean a noun by the catalog, else those of broader nouns."""
        kinds = [OBJECT_KINDS[k] for k in _kinds().get(noun) or _kinds().get(singular(noun), ())]
        for words in ([n for k in kinds for n in k.nouns], [n for k in kinds for n in k.broader]):
            words = [word for word in words if word not in HYPERNYMS]
            found = {label for word in words for label in self._named(word) or ()}
            if found := found & self._recognised:
                return found
        return set()

    def _named(self, noun: str) -> tuple[str, ...] | None:
        """`labels_of` without broader words."""
        found = set[str]()
        for form in (noun, singular(noun)):  # "books" is a class, and several of the class "book"
            if " " in form and form in self._labels:  # "coffee table": no other table is meant
                return tuple(sorted(n for n in self._labels if f" {n}".endswith(f" {form}")))
            found |= {*self._classes.get(form, ()), *({form} & self._labels.keys())}
            if " " not in form:
                found |= self._heads.get(form, set())
        if found:
            same = (n for n in self._labels if found.issuperset(self._classes.get(n, ("",))))
            return tuple(sorted(found.union(same)))
        last = noun.split()[-1] if noun else ""
        # Of "baking oven" the oven; of "sewing machine" no other machine.
        group = singular(last) in HYPERNYMS and singular(last) not in self._names
        return self._named(last) if last != noun and self.is_name(last) and not group else None

    def is_name(self, noun: str) -> bool:
        """Whether a noun with all its words is a label, a class or a synonym."""
        return any(f in self._labels or f in self._classes for f in (noun, singular(noun)))

    def name_around(self, word: str, text: str) -> str | None:
        """The longest known name of several words that has `word` among them and is in a text."""
        names = (n for n in (*self._labels, *self._classes) if " " in n and word in n.split())
        return max((n for n in names if _contains(text, n)), key=len, default=None)

    def label_in(self, text: str) -> str | None:
        """The longest label of the map that a text contains, in singular or plural; a label in a
        script without spaces may stand anywhere.
        """
        words = normalize(text)
        found = [label for label in self._labels if _contains(words, label)]
        return max(found, key=len, default=None)

    def corrected(self, noun: str) -> str | None:
        """The known noun that an unknown one was meant to be: within one slip for four to seven
        letters, two for longer ones; None where there is none, it is not clear which, or the word
        is a word of its own.
        """
        if noun in self._other_words or singular(noun) in self._other_words:
            return None
        best = _nearest(singular(noun), [*self._classes, *self._labels])
        classes = {self.labels_of(word) for word in best}
        return best[0] if len(classes) == 1 else None

    def corrected_modifier(self, word: str) -> str | None:
        """The colour or other common modifier that a word was meant to be, else None."""
        if word in MODIFIER_WORDS or word in self._other_words or self.labels_of(word):
            return None
        best = _nearest(word, MODIFIER_WORDS)
        return best[0] if len(best) == 1 else None

    def names(self, limit: int = 8) -> Sequence[str]:
        """Some known nouns, those of the map first."""
        return [*self._labels, *(c for c in self._names if c not in self._labels)][:limit]

    def canonical(self, noun: str) -> str:
        """The noun as the network was trained on it: "settee" -> "sofa"."""
        if normalize(noun) in self._labels:
            return noun
        classes = self._classes.get(noun) or self._classes.get(singular(noun)) or ()
        if len(classes) != 1:
            return noun
        usual = nouns(classes[0])
        return noun if singular(noun) in usual or noun in usual else usual[0]


def is_modifier(word: str) -> bool:
    """Whether a word before a noun tells its colour, size, material or pattern."""
    return word in MODIFIER_WORDS or bool(look_name(word)[0])


@lru_cache(maxsize=1)
def _kinds() -> dict[str, tuple[str, ...]]:
    """Of each noun of the catalog the keys of the kinds that it names."""
    kinds: dict[str, tuple[str, ...]] = {}
    for key, kind in OBJECT_KINDS.items():
        for noun in kind.nouns:
            kinds[noun] = (*kinds.get(noun, ()), key)
    return kinds


def purpose_of(verb: str, text: str = "") -> str:
    """The noun of what one uses: "sit" and "sitting" -> "seat"; "" for other verbs. text: the
    phrase, with the object of the verb: one washes clothes and hands in different things.
    """
    verb, *rest = verb.split()
    stem = verb.removesuffix("ing")
    forms = (verb, stem, f"{stem}e", stem[:-1]) if stem != verb else (verb,)
    objects = (*rest, *text.split())
    keys = (*(f"{form} {word}" for form in forms for word in objects), *forms)
    return next((PURPOSES[key] for key in keys if key in PURPOSES), "")


@lru_cache(maxsize=4096)
def normalize(text: str) -> str:
    """A label or a noun in the form that is compared: NFKC, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def is_anything(noun: str) -> bool:
    """Whether a noun stands for any object."""
    return not noun or singular(noun) in ANYTHING or noun in PRONOUNS


def _contains(text: str, label: str) -> bool:
    if not any("a" <= letter <= "z" for letter in label):
        return label in text
    return re.search(rf"(?<!\w){re.escape(label)}(?:e?s)?(?!\w)", text) is not None


def _nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known words at the smallest distance, within the typing tolerance."""
    if len(word) < 4:
        return []
    near = process.extract(
        word,
        list(known),
        scorer=DamerauLevenshtein.distance,
        score_cutoff=1 if len(word) < 8 else 2,
        limit=4,
    )
    return [found for found, distance, _ in near if distance == near[0][1]] if near else []
