"""Templates of the generated questions, and their realizer: nouns, prepositions, sentences.

Both splits share the lexicon. The sentence templates of "train" and "test" are disjoint, so a test
question is a new sentence of words that the network has seen in training.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from spatial3d_ros.categories import CATEGORIES, nouns
from spatial3d_ros.english import plural, with_article
from spatial3d_ros.research.language.descriptions import Description, Link
from spatial3d_ros.research.language.feature_words import after_noun, feature_words
from spatial3d_ros.research.rooms.kinds import kinds

Templates = TypeVar("Templates")
TEMPLATE_SPLIT = "template"

COLOR_WORDS = {"gray": ("gray", "grey")}
ANY_OBJECT = ("thing", "object", "item")
# (measure, adjective, categories): comparisons that users make.
_SIZE_WORDS: tuple[tuple[str, str, str], ...] = (
    ("tallest", "tallest", "table desk chair cabinet shelf stool fridge lamp plant bin vase"),
    ("shortest", "lowest", "table desk cabinet shelf nightstand stool"),
    ("shortest", "shortest", "chair fridge lamp plant bin vase"),
    ("longest", "longest", "table desk sofa bed"),
    ("longest", "widest", "cabinet shelf window picture tv sink"),
)
RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "on": ("on", "on", "on top of", "standing on", "sitting on", "placed on"),
    "under": ("under", "underneath", "beneath"),
    "above": ("above", "above", "over"),
    "below": ("below", "under", "beneath"),
    "next_to": ("next to", "next to", "beside", "right next to", "close to", "near", "by"),
    "closest": ("closest to", "closest to", "nearest to", "nearest"),
    "farthest": ("farthest from", "furthest from", "farthest away from", "furthest away from"),
    "between": ("between", "between", "in between"),
}
PREPOSED = {"closest": ("closest", "nearest"), "farthest": ("farthest", "furthest")}
PREPOSED_PREPOSITION = {"closest": "to", "farthest": "from"}
LYING = frozenset({"book", "pillow", "ball", "box", "backpack", "laptop"})
SOFT = frozenset({"sofa", "bed", "armchair", "chair"})

# {np}: "the red mug on the table"; {n}, {ns}, {a_n}: "red mug", "red mugs", "a red mug"; {p}: its
# attributes or relations. any: for every description; attributes: for those with more than a noun;
# relations: for prepositional phrases only ("on the table").
QUESTION_TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "any": (
            "{np}", "{np}", "{np}", "where is {np}?", "where is {np}?", "find {np}",
            "find {np}, please", "please find {np}", "show me {np}", "can you show me {np}?",
            "point at {np}", "can you point at {np}?", "go to {np}", "please go to {np}",
            "drive to {np}", "drive over to {np}", "take me to {np}", "i am looking for {np}",
            "i want {np}", "do you see {np}?", "can you see {np}?", "locate {np}", "look at {np}",
            "tell me where {np} is", "i need {np}", "where can i find {np}?",
            "could you find {np}?", "move to {np}", "robot, where is {np}?",
            "what is the location of {np}?", "it is {np}", "the one i mean is {np}",
            "i can not find {np}", "what i would like to see is {np}", "where do i find {np}?",
        ),
        "attributes": (
            "which {n} is {p}?", "the {n} that is {p}", "the {n} which is {p}",
            "find the {n} that is {p}", "it is the {n} that is {p}", "i mean the {n} that is {p}",
            "this is {a_n}. it is {p}.", "look for {a_n}, the one that is {p}",
            "which of the {ns} is {p}?", "where is the {n} which is {p}?",
            "which one of the {ns} is {p}?",
        ),
        "relations": (
            "there is {a_n} {p}. where is it?", "there is {a_n} {p}. find it",
            "{p} there is {a_n}. show it to me", "find {a_n} {p}",
            "{p} there is {a_n}. where is it?", "do you see {a_n} {p}?", "is there {a_n} {p}?",
        ),
    },
    "test": {
        "any": (
            "{np}, please", "could you tell me where {np} is?", "please show me {np}",
            "where do you see {np}?", "robot, go to {np}, please", "i need you to find {np}",
            "please point at {np}", "can you take me to {np}?", "could you look at {np}?",
            "what i want is {np}", "i can not see {np}. where is it?", "please drive to {np}",
            "can you locate {np}?", "where would i find {np}?",
            "i am looking for {np}. can you see it?", "please look for {np}",
        ),
        "attributes": (
            "show me which {n} is {p}", "the {n} i am looking for is {p}",
            "it is {a_n} and it is {p}", "can you find the {n} that is {p}?",
            "the {n} i want is {p}", "find {a_n}. it is the one that is {p}.",
            "tell me which of the {ns} is {p}",
        ),
        "relations": (
            "i see {a_n} {p}. go to it", "find it: {a_n} {p}",
            "{p} you can see {a_n}. where is it?", "could you find {a_n} {p}?",
        ),
    },
}  # fmt: skip

# {ns}, {n}: a phrase that fits several objects: "red mugs on the table".
SEVERAL_TEMPLATES: dict[str, tuple[str, ...]] = {
    "train": (
        "all {ns}", "all the {ns}", "the {ns}", "find all {ns}", "find all the {ns}",
        "where are the {ns}?", "where are all {ns}?", "show me all {ns}", "show me every {n}",
        "every {n}", "point at all {ns}", "which are the {ns}?", "i need all the {ns}",
        "can you see the {ns}?", "look for all {ns}", "please find the {ns}",
    ),
    "test": (
        "where are all the {ns}?", "please find every {n}", "could you show me the {ns}?",
        "please point at the {ns}", "can you find all {ns}?", "tell me where the {ns} are",
    ),
}  # fmt: skip

DISTANCE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "train": (
        "how far is {a} from {b}?", "how far is {a} from {b}?", "how far apart are {a} and {b}?",
        "what is the distance between {a} and {b}?", "how far away is {a} from {b}?",
        "distance between {a} and {b}", "tell me the distance between {a} and {b}",
        "how many metres is it from {a} to {b}?", "how many meters are there from {a} to {b}?",
        "how far is it from {a} to {b}?", "measure the distance from {a} to {b}",
        "what is the distance from {a} to {b}?", "the distance from {a} to {b} in metres",
    ),
    "test": (
        "how many metres are there between {a} and {b}?",
        "can you measure the distance between {a} and {b}?",
        "please tell me how far {a} is from {b}", "how many meters apart are {a} and {b}?",
        "how far are {a} and {b} apart?", "what is the distance in meters between {a} and {b}?",
        "how far is it between {a} and {b}?", "how many metres is {a} away from {b}?",
        "from {a} to {b}, how far is it?",
    ),
}  # fmt: skip

# {np}: "the red mug"; {n}, {ns}: "red mug", "red mugs"; {to}: "to the left of"; {side}: "leftmost";
# {far}: "farthest to the left"; {a}: the anchor; {v}: the viewpoint. what: without a category.
SIDE_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "to the left of", "left of"),
    "right": ("to the right of", "to the right of", "right of"),
    "front": ("in front of",),
    "behind": ("behind",),
}
OUTERMOST_WORDS = {"leftmost": ("leftmost", "left"), "rightmost": ("rightmost", "right")}
VIEW_TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "named": (
            "{np} {to} {a}, seen from {v}", "{np} {to} {a} as seen from {v}",
            "seen from {v}, which {n} is {to} {a}?", "from {v}, find {np} {to} {a}",
            "which {n} is {to} {a} when you look from {v}?",
            "standing at {v} and looking at {a}, which {n} is {to} it?",
            "when you face {a} from {v}, {np} {to} it",
            "i stand at {v} and look at {a}. where is {np} {to} it?",
            "find {np} that is {to} {a} if you look from {v}",
            "look at {a} from {v}. show me {np} {to} it",
            "where is {np} {to} {a}, viewed from {v}?",
            "from where {v} is, {np} {to} {a}", "go to {np} {to} {a}, as seen from {v}",
        ),
        "what": (
            "what is {to} {a}, seen from {v}?", "what is {to} {a} as seen from {v}?",
            "seen from {v}, what is {to} {a}?", "what stands {to} {a} when you look from {v}?",
            "when you face {a} from {v}, what is {to} it?",
        ),
        "outermost": (
            "the {side} {n} as seen from {v}, looking towards {a}",
            "standing at {v} and looking at {a}, which {n} is the {side} one?",
            "which {n} is {far} when you look from {v} towards {a}?",
            "find the {side} {n}, looking from {v} towards {a}",
            "of the {ns}, the one {far} if you face {a} from {v}",
            "i stand at {v} and look at {a}. where is the {side} {n}?",
            "seen from {v} and looking at {a}, the {side} of the {ns}",
            "look from {v} towards {a}. show me the {n} {far}",
            "facing {a} from {v}, the {side} {n}",
        ),
    },
    "test": {
        "named": (
            "viewed from {v}, where is {np} {to} {a}?", "show me {np} {to} {a}, seen from {v}",
            "if i stand at {v} and face {a}, which {n} is {to} it?",
            "which {n} is {to} {a} from where {v} is?", "facing {a} from {v}, find {np} {to} it",
            "please go to {np} that is {to} {a} when seen from {v}",
            "which {n} do you see {to} {a} when standing at {v}?",
        ),
        "what": (
            "viewed from {v}, what is {to} {a}?", "what do you see {to} {a}, looking from {v}?",
            "if i stand at {v} and face {a}, what is {to} it?",
        ),
        "outermost": (
            "if i stand at {v} and face {a}, where is the {side} {n}?",
            "looking from {v} towards {a}, which of the {ns} is {far}?",
            "show me the {side} {n} when seen from {v}, looking at {a}",
            "viewed from {v} towards {a}, find the {side} {n}",
            "facing {a} from {v}, which {n} is the {side} one?",
        ),
    },
}  # fmt: skip


def templates_of_split(templates: Mapping[str, Templates], split: str) -> Templates:
    """The templates of a split; of TEMPLATE_SPLIT only the first of each family of "train"."""
    if split != TEMPLATE_SPLIT:
        return templates[split]
    known = templates["train"]
    if isinstance(known, tuple):
        return known[:1]
    return {family: options[:1] for family, options in known.items()}


class Realizer:
    """Realizes descriptions with the templates of one split, drawn with `rng`."""

    def __init__(self, rng: random.Random, split: str) -> None:
        self.rng = rng
        self.templates = templates_of_split(QUESTION_TEMPLATES, split)
        self.distance_templates = templates_of_split(DISTANCE_TEMPLATES, split)
        self.view_templates = templates_of_split(VIEW_TEMPLATES, split)
        self.several_templates = templates_of_split(SEVERAL_TEMPLATES, split)

    def noun(self, category: str | None) -> str:
        return self.rng.choice(ANY_OBJECT) if category is None else self.rng.choice(nouns(category))

    def nominal(self, description: Description, noun: str) -> str:
        feature, words = description.feature, [noun]
        if feature is not None and not feature.after_noun:
            words.insert(0, self.rng.choice(feature_words(feature)))
        if description.color is not None:
            words.insert(0, self.color(description.color))
        if feature is not None and feature.after_noun:
            words.append(after_noun(feature, self.color(feature.value), self.rng))
        return " ".join(words)

    def color(self, color: str) -> str:
        return self.rng.choice(COLOR_WORDS[color]) if color in COLOR_WORDS else color

    def definite(self, description: Description) -> str:
        """The description as a noun phrase that starts with "the"."""
        rng, noun = self.rng, self.noun(description.category)
        nominal = self.nominal(description, noun)
        if description.superlative is not None:
            size = rng.choice(size_words(description.superlative, description.category))
            if rng.random() < 0.15:
                return f"the {size} of the {plural(nominal)}"
            after = rng.random() < 0.1
            return f"the {nominal} that is {size}" if after else f"the {size} {nominal}"
        if not description.links:
            plain = description.feature is None
            if description.color is not None and plain and rng.random() < 0.15:
                return f"the {noun} that is {self.color(description.color)}"
            return f"the {nominal}"
        link = description.links[0]
        if len(description.links) == 1 and link.relation in PREPOSED and rng.random() < 0.3:
            word = rng.choice(PREPOSED[link.relation])
            to = PREPOSED_PREPOSITION[link.relation]
            return f"the {word} {nominal} {to} {self.definite(link.anchors[0])}"
        that_is = rng.choice(("", "", "that is ", "which is "))
        return f"the {nominal} {that_is}{self.relations(description)}"

    def relations(self, description: Description) -> str:
        """The relations alone: "on the table and next to the lamp"."""
        return " and ".join(self._link(description.category, link) for link in description.links)

    def _link(self, category: str | None, link: Link) -> str:
        word = self.rng.choice(RELATION_PHRASES[link.relation])
        anchors = link.anchors
        if link.relation == "on":
            if _lies(category) and word.startswith(("standing", "sitting")):
                word = "lying on"
            if _is_soft(anchors[0].category) and word in ("on top of", "standing on"):
                word = "on"
        if link.relation == "above" and category == "picture" and self.rng.random() < 0.4:
            word = "hanging above"
        if link.relation != "between":
            anchor = self.definite(anchors[0])
            if link.some and self.rng.random() < 0.6:
                return f"{word} {with_article(anchor.removeprefix('the '))}"
            return f"{word} {anchor}"
        if len(anchors) == 1:
            twins = self.nominal(anchors[0], self.noun(anchors[0].category))
            return f"{word} the two {plural(twins)}"
        return f"{word} {self.definite(anchors[0])} and {self.definite(anchors[1])}"

    def question(self, description: Description) -> tuple[str, str]:
        """A sentence that asks for it, and the noun phrase in it."""
        rng = self.rng
        roll = rng.random()
        links = description.links
        feature = description.feature
        has_attributes = description.category is not None and (
            links
            or description.superlative is not None
            or (description.color is None) != (feature is None or feature.after_noun)
        )
        if feature is not None and feature.after_noun:
            has_attributes = False
        if not has_attributes or roll < 0.6:
            phrase = self.definite(description)
            return rng.choice(self.templates["any"]).format(np=phrase), phrase
        noun = self.noun(description.category)
        nominal = self.nominal(description, noun)
        if links:
            predicate = self.relations(description)
            phrase = f"the {nominal} {predicate}"
        elif description.superlative is not None:
            size = rng.choice(size_words(description.superlative, description.category))
            predicate = f"the {size} one" if rng.random() < 0.3 else f"the {size}"
            phrase = f"the {size} {nominal}"
        else:
            phrase, nominal = f"the {nominal}", noun
            predicate = phrase.removeprefix("the ").removesuffix(f" {noun}")
        prepositional = links and roll > 0.82 and all(k.relation not in PREPOSED for k in links)
        template = rng.choice(self.templates["relations" if prepositional else "attributes"])
        words = {"n": nominal, "ns": plural(nominal), "a_n": with_article(nominal), "p": predicate}
        return template.format(**words), phrase

    def _short(self, description: Description) -> str:
        """As `definite`, without a relative clause to which "seen from" could be attached."""
        nominal = self.nominal(description, self.noun(description.category))
        if description.superlative is None:
            return f"the {nominal}"
        size = self.rng.choice(size_words(description.superlative, description.category))
        return f"the {size} {nominal}"

    def view(self, description: Description) -> tuple[str, str]:
        """As `question`, for a view-dependent relation."""
        rng, link = self.rng, description.links[0]
        noun = self.nominal(description, self.noun(description.category))
        anchor, viewpoint = (self._short(end) for end in link.anchors)
        words = {"n": noun, "ns": plural(noun), "np": f"the {noun}", "a": anchor, "v": viewpoint}
        if link.relation in OUTERMOST_WORDS:
            kind, (side, direction) = "outermost", OUTERMOST_WORDS[link.relation]
            words |= {"side": side, "far": f"farthest to the {direction}"}
            phrase = f"the {side} {noun} as seen from {viewpoint}, looking towards {anchor}"
        else:
            words["to"] = rng.choice(SIDE_PHRASES[link.relation])
            kind = "what" if description.category is None else "named"
            phrase = f"the {noun} {words['to']} {anchor} as seen from {viewpoint}"
        return rng.choice(self.view_templates[kind]).format(**words), phrase

    def several(self, description: Description) -> tuple[str, str]:
        """As `question`, for all objects that fit."""
        noun = self.nominal(description, self.noun(description.category))
        relations = f" {self.relations(description)}" if description.links else ""
        phrase = f"{plural(noun)}{relations}"
        template = self.rng.choice(self.several_templates)
        return template.format(ns=phrase, n=f"{noun}{relations}"), f"the {phrase}"

    def distance(self, a: str, b: str) -> str:
        return self.rng.choice(self.distance_templates).format(a=a, b=b)

    def finish(self, text: str) -> str:
        """Typed text: often in lower case and without final punctuation, else as in print."""
        style = self.rng.random()
        if style < 0.5:
            return text.rstrip("?.") if style < 0.35 else text
        text = ". ".join(part[:1].upper() + part[1:] for part in text.split(". "))
        text = re.sub(r"\btv\b", "TV", re.sub(r"\bi\b", "I", text))
        if style < 0.65:
            return text.rstrip("?.")
        return text if text.endswith(("?", ".")) else text + "."


@cache
def _lies(category: str | None) -> bool:
    """Whether one says that it lies on something."""
    if category in LYING or category in CATEGORIES or category is None:
        return category in LYING
    return kinds()[category].height[1] < 0.1


@cache
def _is_soft(category: str | None) -> bool:
    """Whether things sink into it."""
    return category in SOFT or (category in kinds() and kinds()[category].soft)


@cache
def size_words(superlative: str, category: str | None) -> tuple[str, ...]:
    """Adjectives for the superlative of a category; empty where users do not compare it."""
    if superlative == "largest":
        return "largest", "biggest"
    if superlative == "smallest":
        return ("smallest",)
    if category in kinds() and category not in CATEGORIES:
        kind = kinds()[category]
        upright = kind.height[0] > max(kind.width[1], kind.depth[1])
        return {"tallest": ("tallest",), "shortest": ("shortest", "lowest")}.get(
            superlative if upright else "", ()
        )
    return tuple(
        word for name, word, of in _SIZE_WORDS if name == superlative and category in of.split()
    )


def answer_words(color: str, category: str) -> str:
    """The short answer: "the red chair"."""
    return f"the {color} {nouns(category)[0]}"
