"""The objects that a noun phrase stands for: one, several, none, or a question back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial3d_ros.categories import PART_NOUNS
from spatial3d_ros.english import enumeration, plural, singular, with_article
from spatial3d_ros.errors import NotFoundError
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.descriptions import is_fixed, rewritten
from spatial3d_ros.tasks.grounding import TIE_RATIO, object_name
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.resolution import Resolution, Resolver
from spatial3d_ros.tasks.results import ScoredObject
from spatial3d_ros.tasks.vocabulary import UnknownWordError, is_anything, is_modifier, purpose_of
from spatial3d_ros.tasks.word_lists import OF_A_ROOM

FLOOR = 0.5  # probability of "nothing" above which nothing fits
OTHER_NAME_FLOOR = 0.35  # the same to point at, measure or move what the map names otherwise
LIKELY = 0.2  # confidence of an object from which it is counted
_EMPTY_WORDS = ("the", "a", "an", "my", "your", "our", "this", "that", "any", "some", "is", "there")
_ANY = ("a", "an", "any", "some", "one", "another")
_ALL = ("all", "every", "each", "both", "these", "those")


@dataclass(frozen=True, eq=False)
class Choice:
    """The objects that fit a description about equally well, likeliest first: one if it is clear.

    scores: their probabilities. shares: (N,) that of each object of the map, those that are not the
    same box counted apart. near: the likeliest objects where nothing fits. same: the first object
    and those that share most of its box, whose probabilities add up to `confidence`.
    """

    description: Description
    objects: tuple[int, ...]
    scores: tuple[float, ...]
    shares: np.ndarray
    near: tuple[int, ...] = ()
    same: tuple[int, ...] = ()

    @property
    def confidence(self) -> float:
        """Probability that the first object is meant."""
        return self.scores[0] if self.scores else 0.0


class Selection:
    """Chooses objects of one map for the descriptions of a query."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver, self.objects = resolver, resolver.objects
        self._ranks = [o.score for o in self.objects]

    def known(self, query: ParsedQuery) -> ParsedQuery:
        """The query in known nouns; `corrections` tell what was corrected in it.

        Raises UnknownWordError naming the first noun that nothing knows.
        """
        changes = list(query.corrections)
        vocabulary = self.resolver.vocabulary

        def noun(word: str) -> str:
            if is_anything(word) or vocabulary.labels_of(word) is not None:
                return vocabulary.canonical(word)
            whole = vocabulary.name_around(word, query.text.lower())
            if whole is not None:  # the reader found a part of "bulletin board"
                return vocabulary.canonical(whole)
            near = vocabulary.corrected(word)
            if near is None and singular(word) in OF_A_ROOM:
                raise UnknownWordError(
                    f"query: the map holds objects, no '{word}'; name an object, e.g. the "
                    f"{vocabulary.names(1)[0]}"
                )
            if near is None:
                raise UnknownWordError(
                    f"query: I do not know the word '{word}'; I know of "
                    f"{', '.join(vocabulary.names())} and more. A recogniser or detector can add "
                    "words"
                )
            changes.append((word, near))
            return vocabulary.canonical(near)

        def modifier(word: str) -> str:
            near = vocabulary.corrected_modifier(word)
            if near is None:
                return word
            changes.append((word, near))
            return near

        targets = tuple(
            rewritten(self._read_head(_with_head(target)), noun, modifier)
            if not (query.intent == "edit.place" and at == 0) and not is_fixed(target)
            else target
            for at, target in enumerate(query.targets)
        )
        return replace(query, targets=targets, corrections=tuple(dict.fromkeys(changes)))

    def _read_head(self, description: Description) -> Description:
        """The description of an object in place of what it is for ("something to sit on"); or with
        the leading colours, materials, patterns and sizes of a noun that is no name as a whole as
        its modifiers: "metal dryer", and not "paper towel".
        """
        vocabulary, head = self.resolver.vocabulary, description.head
        unknown = head and vocabulary.labels_of(head) is None
        noun = purpose_of(head, description.text) if unknown else ""
        if noun and vocabulary.labels_of(noun) is not None:
            text = " ".join(("a", *description.modifiers, noun))
            return replace(description, text=text, head=noun)
        whole, _, part = head.rpartition(" ")
        of_part = whole if part in PART_NOUNS else ""  # "toilet lid"
        used = _used_object(description) or of_part
        if used and vocabulary.labels_of(head) is None and vocabulary.is_name(used):
            return replace(description, text=f"the {used}", head=used)
        words, split = head.split(" "), 0
        while split < len(words) - 1 and is_modifier(words[split]):
            if vocabulary.is_name(" ".join(words[split:])):
                break
            split += 1
        modifiers = (*description.modifiers, *words[:split])
        return replace(description, head=" ".join(words[split:]), modifiers=modifiers)

    def choose(self, descriptions: Sequence[Description]) -> list[Choice]:
        """The objects of each description, with one pass of the network for all of them."""
        return [self.chosen(r) for r in self.resolver.resolve(descriptions)]

    def one(self, description: Description) -> Choice:
        """The objects that fit a description of one, to tell something of it. Raises NotFoundError
        where nothing fits.
        """
        choice = self.chosen(self.resolver.resolve([description])[0], FLOOR)
        if not choice.objects:
            raise NotFoundError(self.missing(choice))
        return choice

    def missing(self, choice: Choice) -> str:
        """The sentence that nothing fits, with the nearest objects."""
        text = f"I see nothing that fits '{choice.description.text}'"
        if not choice.near:
            return f"{text}: the object map is empty"
        return f"{text}; nearest: {', '.join(object_name(self.objects[i]) for i in choice.near)}"

    def several(self, description: Description) -> list[int]:
        """All objects that fit a description, each once: by label, colour and relations."""
        if not self.objects:
            return []
        match = self.resolver.matching(description) & self.resolver.looking(description)
        fits = self.resolver.resolve([description])[0].fits
        fitting = np.flatnonzero(match & (fits > 0.5)).tolist()
        return self.distinct([i for i in fitting if self.objects[i].score >= LIKELY])

    def pair(self, targets: Sequence[Description]) -> tuple[int, int] | None:
        """The two objects that one plural stands for: "the two stools"; None for other targets.
        Raises NotFoundError where there are not two.
        """
        if len(targets) != 1 or not means_all(targets[0]):
            return None
        found = self.several(targets[0])
        if len(found) != 2:
            raise NotFoundError(
                f"'{targets[0].text}': I see {len(found)} of them, not two; name both objects"
            )
        return found[0], found[1]

    def distinct(self, indices: Sequence[int]) -> list[int]:
        """Of boxes that largely share their volume only the likeliest object."""
        return self.resolver.distinct([int(i) for i in indices], self._ranks)

    def assign(self, choices: Sequence[Choice]) -> list[int]:
        """The likeliest distinct objects of several choices. Raises NotFoundError for more choices
        than objects.
        """
        if len(choices) > len(self.objects):
            raise NotFoundError(
                f"'{choices[-1].description.text}': the object map holds {len(self.objects)} "
                "object(s), too few for this question"
            )
        if not choices:
            return []
        cost = -np.log(np.array([choice.shares for choice in choices]) + 1e-12)
        return [int(k) for k in linear_sum_assignment(cost)[1]]

    def scored(self, choice: Choice) -> tuple[ScoredObject, ...]:
        """The objects of a choice with their probabilities."""
        pairs = zip(choice.objects, choice.scores, strict=True)
        return tuple(ScoredObject(self.objects[i], score) for i, score in pairs)

    def sure(self, *indices: int) -> tuple[ScoredObject, ...]:
        """Objects that an answer in words is about."""
        return tuple(ScoredObject(self.objects[i], 1.0) for i in indices)

    def question_back(self, choice: Choice) -> str:
        """ "the white or the green window?" for two that fit; "" where one is clear."""
        if len(choice.objects) < 2 or means_any(choice.description):
            return ""
        return ask_back([self.objects[i] for i in choice.objects])

    def chosen(self, resolution: Resolution, other_name: float = OTHER_NAME_FLOOR) -> Choice:
        """The objects that the scores of a description lead to; none where the probability of
        "nothing" is above FLOOR, or above `other_name` and the map names the likeliest otherwise.
        """
        scores = resolution.scores / self.resolver.weights.temperature
        shares = np.exp(scores - np.logaddexp.reduce(scores))
        order = np.argsort(-shares[:-1])
        named = len(order) and self.resolver.matching(resolution.description)[order[0]]
        if not len(order) or shares[-1] > (FLOOR if named else other_name):
            near = self.resolver.distinct(order[:6].tolist(), shares[:-1].tolist())[:3]
            return Choice(resolution.description, (), (), shares[:-1], tuple(near))
        kept: list[int] = []
        for i in order.tolist():
            if resolution.scores[i] < resolution.scores[order[0]] + np.log(TIE_RATIO):
                break
            if not self.resolver.same[i, kept].any():
                kept.append(i)
        ties, kept = kept, resolution.clearest(kept)
        # Boxes that share most of their volume are one object: their probabilities add up.
        same = self.resolver.same.copy()
        np.fill_diagonal(same, True)
        totals = tuple(float(shares[:-1][same[i]].sum()) for i in kept)
        if len(kept) == 1:  # what boxes rule out leaves its probability to the one they choose
            out = sum(float(shares[i]) for i in ties if not same[i, kept[0]])
            totals = (min(totals[0] + out, 1.0),)
        first = tuple(np.flatnonzero(same[kept[0]]).tolist())
        return Choice(resolution.description, tuple(kept), totals, shares[:-1], same=first)


def _with_head(description: Description) -> Description:
    """The description with a head noun: where the reader found none, the last word before its
    relations that is no article, so that a noun which nobody knows is not read as "anything".
    """
    if description.head or description.pronoun:
        return description
    marked = {*description.modifiers, *description.excluded, description.quantifier}
    words = [w for w in description.text.split() if w not in _EMPTY_WORDS and w not in marked]
    if any(is_anything(word) for word in words):
        return description  # "something made of glass"
    if description.relations or description.superlative or description.ordinal or not words:
        return description
    return replace(description, head=words[-1])


def _used_object(description: Description) -> str:
    """The noun after a verb that was read as the noun: "piano" of "play the piano"."""
    lead, _, after = description.text.partition(f"{description.head} ")
    article, _, noun = after.partition(" ")
    return noun if not lead and article in ("the", "a", "an", "my", "our", "your") else ""


def ask_back(objects: Sequence[SceneObject]) -> str:
    """The question which of some objects is meant; without coordinates, which depend on a frame."""
    labels = {o.label for o in objects}
    colors = [o.color for o in objects]
    names = [object_name(o) for o in objects]
    if len(objects) > 4 or max(Counter(names).values()) > 1:
        what = f"{labels.pop()}" if len(labels) == 1 else "object"
        return f"which of the {len(objects)}? Say more about the {what}, e.g. what it is next to"
    if len(labels) == 1 and all(colors):
        return f"the {' or the '.join(colors)} {objects[0].label}?"
    return f"{' or '.join(names)}?"


def means_any(description: Description) -> bool:
    """Whether any object that fits will do: "a chair", "any chair"."""
    words = description.text.split()
    return description.quantifier in _ANY or (bool(words) and words[0] in _ANY)


def means_all(description: Description) -> bool:
    """Whether all objects that fit are meant: "all chairs", "both chairs", "the chairs"."""
    head = description.head
    return description.quantifier.split(" ")[0] in _ALL or (
        bool(head) and not is_anything(head) and singular(head) != head
    )


def plain_name(description: Description) -> str:
    """ "red chair", as answers repeat a description that nothing fits."""
    if is_anything(description.head) and not description.modifiers:
        return "such thing"
    return " ".join((*description.modifiers, singular(description.head) or "object"))


def list_names(objects: Sequence[SceneObject], *, colors: bool = True) -> str:
    """ "2 black chairs, a red mug and a table"; without `colors` "2 chairs and a mug"."""
    counts = Counter(
        " ".join(filter(None, (o.color if colors else "", o.label))) or "object" for o in objects
    )
    return enumeration(
        [
            with_article(text) if count == 1 else f"{count} {plural(text)}"
            for text, count in counts.items()
        ]
    )
