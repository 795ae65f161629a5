"""Which objects a description refers to: the network's scores and exact geometry together.

Log scores add up, each with a learnt weight (`tasks/resolution_weights.py`): the network's for the
whole phrase, the object's label, its colour, its material and pattern, and one term for each
relation, superlative and word of size, computed from boxes. What each brings alone is measured by
leaving it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spatial3d_ros.categories import COLORS
from spatial3d_ros.errors import QueryError
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.descriptions import (
    asked_looks,
    is_anchored,
    is_part,
    is_place,
    is_self_reference,
    object_called,
    phrase,
    scored_descriptions,
)
from spatial3d_ros.tasks.query import Description, RelationPhrase
from spatial3d_ros.tasks.relation_terms import SIZES, RelationTerms, Viewer
from spatial3d_ros.tasks.resolution_weights import Weights, shipped_weights
from spatial3d_ros.tasks.vocabulary import Vocabulary, is_anything, normalize

PhraseScores = Callable[[Sequence[str]], np.ndarray]
"""Phrases (Q) -> the network's logits (Q, N + 1) of the objects, "nothing" last."""

SAME = 0.5  # share of the smaller box inside the other from which two boxes are one object
_AS_LARGE = 3.0  # ratio of volumes up to which boxes of different names may be one object
_CLEARLY = 0.8  # of how far orders and relations fit the best of objects that score equally
_SAME_LOOK = 0.5  # of the share of the likeliest object, from which one looks as asked for
_MAJORITY = 0.5  # share of the labels of a recogniser from which an object is there
_BESIDE_LABELS = 0.15  # of the network's score where a recogniser names what is asked for
_NAMED_BESIDE = 0.5  # of the network's own names there
_RECOGNISED_ANCHORS = 2.0  # weight of relations to anchors that a recogniser named: the fitted
# weights allow for anchors that the network named wrongly
_EXACT = 3.0  # weight of the order in "the largest object": boxes alone decide it
_NOTHING_OF_ALL = -4.0  # the network's score of "nothing" there
_OF_THE_BUILDING = ("door", "window")  # no objects where sizes of all are compared
_LEAST = 0.05  # label and relation of an object that has neither: their terms are finite
_LEAST_FIRM = 0.0025  # the same for labels of a recogniser
_LEAST_LOOK = 0.1  # the same for looks, which are seen less surely than labels
_ALONE = 2.5  # of labels, colours and looks where the network tells nothing: a saved map
_LEAST_SIZE = 0.3  # the same for words of size, which are vague
_SIZE_WORDS = {
    "small": "smallest", "little": "smallest", "tiny": "smallest", "large": "largest",
    "big": "largest", "huge": "largest", "tall": "tallest", "high": "tallest", "low": "shortest",
    "short": "shortest", "long": "longest",
}  # fmt: skip


@dataclass(frozen=True)
class Resolution:
    """Log scores (N + 1) of the objects for one description, "nothing" last, normalised; `fits`
    (N,), how far its relations, to any of the objects that may be the anchor, and its orders hold
    for each object, 0 to 1; `exact` (N,), the same
    with its size words; and the `terms` by name, (N + 1) each, whose weighted sum the scores are.
    """

    description: Description
    scores: np.ndarray
    fits: np.ndarray
    exact: np.ndarray
    terms: dict[str, np.ndarray]

    def clearest(self, indices: Sequence[int]) -> list[int]:
        """Of objects that score about equally, likeliest first, those that orders, size words and
        relations fit best: boxes tell which is the taller stool.
        """
        least = _CLEARLY * max((self.exact[i] for i in indices), default=0.0)
        return [i for i in indices if self.exact[i] >= least]


class Resolver:
    """Resolves descriptions on one object map.

    objects: of the map; boxes (N, 6): the same in a frame whose axes run along the walls, centre
    and size in metres; camera (2,): position of the camera in that frame, None where unknown.
    referred: indices of the objects that "it" stands for, the last answer's.
    """

    def __init__(
        self,
        objects: Sequence[SceneObject],
        boxes: np.ndarray,
        camera: np.ndarray | None,
        phrase_scores: PhraseScores,
        vocabulary: Vocabulary,
        referred: Sequence[int] = (),
        weights: Weights | None = None,
        fronts: np.ndarray | None = None,
    ) -> None:
        self.objects, self.boxes = tuple(objects), boxes.reshape(-1, 6)
        self.weights, self.vocabulary = weights or shipped_weights(), vocabulary
        self.labels = [normalize(o.label) for o in self.objects]
        self.terms = RelationTerms(self.boxes, self.labels, camera, fronts)
        self._phrase_scores, self._logits = phrase_scores, dict[str, np.ndarray]()
        self._referred = np.zeros(len(self.objects))
        self._referred[list(referred)] = 1 / max(len(referred), 1)

    def resolve(self, descriptions: Sequence[Description]) -> list[Resolution]:
        """Resolve descriptions of known nouns, with one pass of the network for all of them, their
        anchors and viewpoints. Raises QueryError for "it" without an answer to refer to.
        """
        if not self.objects:
            return [Resolution(d, np.zeros(1), np.zeros(0), np.zeros(0), {}) for d in descriptions]
        phrases = dict.fromkeys(phrase(d) for one in descriptions for d in scored_descriptions(one))
        if new := [text for text in phrases if text not in self._logits]:
            self._logits.update(zip(new, self._phrase_scores(new), strict=True))
        return [self._resolved(d, self._logits) for d in descriptions]

    def matching(self, description: Description) -> np.ndarray:
        """(N,) whether an object's label, and its colour where one is asked for, match."""
        labels = self._labels(description)
        match = np.array([labels is None or label in labels for label in self.labels], bool)
        return match & (self._color_shares(description) == 1)

    def looking(self, description: Description) -> np.ndarray:
        """(N,) whether an object's material, pattern and the like are those that are asked for."""
        return self._look_shares(description) > _SAME_LOOK

    def named(self, description: Description) -> np.ndarray:
        """(N,) probability of each object to be of the kind and colour that are asked for."""
        labels, asked = self._labels(description), _colors(description.modifiers)
        colors = (o.colors or ((o.color, 1.0),) for o in self.objects)
        shares = [not asked or sum(p for c, p in own if c in asked) for own in colors]
        colored = np.array(shares, float)
        if labels is None:
            return colored
        firm = np.array([o.label_from_detector for o in self.objects], bool)
        return np.minimum(self._label_shares(labels, firm), 1.0) * colored

    def distinct(self, indices: Sequence[int], rank: Sequence[float]) -> list[int]:
        """Of boxes that are one object only the one of the highest `rank` (N,)."""
        kept: list[int] = []
        for i in sorted(indices, key=lambda i: -rank[i]):
            if not self.same[i, kept].any():
                kept.append(i)
        return kept

    @cached_property
    def same(self) -> np.ndarray:
        """(N, N) whether two boxes are one object: they share most of the smaller one, and are
        named alike or are about as large. A pillow in the box of a sofa is an object of its own.
        """
        volumes = self.boxes[:, 3:].prod(-1)
        alike = np.array(self.labels)[:, None] == np.array(self.labels)
        as_large = np.minimum(volumes[:, None], volumes) * _AS_LARGE >= volumes
        return (self.terms.shared >= SAME) & (alike | (as_large & as_large.T))

    def _resolved(self, description: Description, logits: dict[str, np.ndarray]) -> Resolution:
        sum_of = _Sum(self.weights, len(self.objects))
        if description.pronoun and not description.head:
            sum_of.scores = np.append(np.log(self._it(description) + 1e-6), -6.0)
        else:
            self._add_plain(sum_of, description, logits[phrase(description)])
        fits, viewer = np.ones(len(self.objects)), self._viewer(description, logits)
        for relation in description.relations:
            holds = None
            if is_anything(description.head) and viewer is not None and not is_anchored(relation):
                holds = self.terms.beside_viewer(relation.predicate, viewer)  # "on my left"
            if holds is None:
                shares = self._shares(relation, logits)
                holds = self._holds(relation, shares, sum_of.likely, viewer)
                plausible = [np.where(s < s.max() / 2, 0.0, s / s.max()) for s in shares]
                to_any = self._holds(relation, plausible, sum_of.likely, viewer)
            else:
                to_any = holds
            if holds is not None and to_any is not None:
                if relation.negated:
                    holds, to_any = 1 - holds, 1 - to_any
                sure = _RECOGNISED_ANCHORS if self._recognised else 1.0
                term = sure * _log(_LEAST, holds)
                sum_of.add(f"relation.{relation.predicate}", term)
                fits = fits * to_any
        order = self._order(description, sum_of.likely, viewer)
        if order is not None:
            sum_of.add(
                "superlative", (_EXACT if _of_all(description) else 1.0) * _log(_LEAST, order)
            )
            fits = fits * order
        exact = fits
        for word in description.modifiers:
            size = self.terms.order(_SIZE_WORDS.get(word, ""), sum_of.likely, viewer)
            if size is not None:
                sum_of.add("size_word", _log(_LEAST_SIZE, size))
                exact = exact * size
        scores = sum_of.scores - np.logaddexp.reduce(sum_of.scores)
        return Resolution(description, scores, fits, exact, sum_of.terms)

    @property
    def _recognised(self) -> bool:
        """Whether a recogniser labelled most objects."""
        return bool(np.mean([o.label_from_detector for o in self.objects]) > _MAJORITY)

    def _order(
        self, description: Description, likely: np.ndarray, viewer: Viewer | None
    ) -> np.ndarray | None:
        """(N,) how well objects fit the superlative or ordinal of a description, None without."""
        name = description.superlative or ("leftmost" if description.ordinal else "")
        if not name or (name in ("closest", "farthest") and description.relations):
            return None  # "closest to the door" is a relation
        if _of_all(description):
            colored = self._color_shares(description)
            own = np.array([label not in _OF_THE_BUILDING for label in self.labels])
            own = (own & (colored >= colored.max() / 2)).astype(float)
            order = self.terms.order(name, likely * own, viewer, description.ordinal)
            return None if order is None else order * own
        distinct = np.zeros(len(likely))
        kept = self.distinct(range(len(likely)), likely.tolist())
        distinct[kept] = likely[kept]
        return self.terms.order(name, distinct, viewer, description.ordinal)

    def _share(self, description: Description, logits: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) probability of each object to be an anchor or a viewpoint."""
        scores = self._resolved(description, logits).scores[:-1]
        return np.exp(scores - np.logaddexp.reduce(scores))

    def _it(self, description: Description) -> np.ndarray:
        if not self._referred.any():
            raise QueryError(
                f"query: '{description.text}' refers to no earlier answer; name the object, or ask "
                "with the conversation_id of a question of the last minute"
            )
        return self._referred

    def _add_plain(self, sum_of: _Sum, description: Description, logits: np.ndarray) -> None:
        """Add network, label and colour, and how the label speaks for or against "nothing"."""
        network = logits - np.logaddexp.reduce(logits)
        if _of_all(description):
            network = np.append(np.zeros(len(self.objects)), _NOTHING_OF_ALL)
        labels, color = self._labels(description), self._color_shares(description)
        sure_of_map = _ALONE if np.ptp(logits) == 0.0 else 1.0
        by = "detector_" if self._recognised else ""
        if labels is not None:
            firm = np.array([o.label_from_detector for o in self.objects], bool)
            match = self._label_shares(labels, firm)
            if self._recognised:  # a recogniser knows these images; the network guesses
                match = np.where(firm | (match > _MAJORITY), match, 0.0)
            if (match[firm] > _MAJORITY).any():
                network = network * _BESIDE_LABELS
                match = np.where(firm, match, match * _NAMED_BESIDE)
            sure_of = np.array([o.label_score for o in self.objects])
            sure_of = np.minimum(sure_of / max(sure_of[match > 0].max(initial=0.0), 1e-9), 1.0)
            sum_of.add("label", sure_of_map * np.where(firm, 0.0, _log(_LEAST, match)))
            named = _log(_LEAST_FIRM, match * sure_of)  # of two chairs the surer one
            sum_of.add("detector_label", np.where(firm, named, 0.0))
            sure = np.where(firm, np.minimum(match / _MAJORITY, 1.0), match)
            there, colored = sure.max(), (sure * color).max()
            sum_of.add_nothing(f"{by}absent", 1 - there)
            sum_of.add_nothing(f"{by}present", -there)
            sum_of.add_nothing(f"{by}other_color", there - colored)
        sum_of.add(f"{by}network", network)
        sum_of.add_nothing(f"{by}network_nothing", network[-1])
        sum_of.add("color", sure_of_map * _log(_LEAST, color))
        sum_of.add("look", sure_of_map * _log(_LEAST_LOOK, self._look_shares(description)))

    def _labels(self, description: Description) -> tuple[str, ...] | None:
        if is_anything(description.head):
            return None
        return self.vocabulary.labels_of(description.head) or ()

    def _label_shares(self, labels: Sequence[str], firm: np.ndarray) -> np.ndarray:
        """(N,) probability of each object to have one of some labels; of an object with labels of a
        recogniser (`firm`), among those that were named.
        """
        shares = np.zeros(len(self.objects))
        for k, (item, label) in enumerate(zip(self.objects, self.labels, strict=True)):
            given = item.labels or ((label, 1.0),)
            match = sum(p for name, p in given if normalize(name) in labels)
            shares[k] = match / sum(p for _, p in given) if firm[k] else match
        return shares

    def _color_shares(self, description: Description) -> np.ndarray:
        """(N,) probability of each object to have the colour that is asked for, and not a denied
        one; 1 where none is.
        """
        asked, denied = map(_colors, (description.modifiers, description.excluded))
        return np.array(
            [0.0 if o.color in denied else _color_share(o, asked) for o in self.objects]
        )

    def _look_shares(self, description: Description) -> np.ndarray:
        """(N,) how likely each object looks as is asked for, over the likeliest object; 1 where
        nothing is asked for, or the network names no such look.
        """
        shares = np.ones(len(self.objects))
        for what, name in asked_looks(description):
            given = [dict(known.looks.get(what, ())) for known in self.objects]
            if any(given):
                found = np.array([each.get(name, 0.0) for each in given])
                shares = shares * found / max(found.max(), 1e-3)
        return shares

    def _viewer(self, description: Description, logits: dict[str, np.ndarray]) -> Viewer | None:
        """Who sees sides, and looks at what is faced; None for the camera."""
        place, faced = (
            self._place(noun, logits) for noun in (description.viewpoint, description.faced)
        )
        if faced is None:
            return None if place is None else Viewer(place)
        heading = self.terms.heading_to(faced, place)
        return None if place is None and heading is None else Viewer(place, heading)

    def _place(self, noun: str, logits: dict[str, np.ndarray]) -> np.ndarray | None:
        """(2,) where an object stands; None without a noun, for the robot and an unknown noun."""
        if not is_place(noun) or self.vocabulary.labels_of(noun) is None:
            return None
        share = self._share(object_called(noun), logits)
        return self.boxes[int(share.argmax()), :2]

    def _shares(self, relation: RelationPhrase, logits: dict[str, np.ndarray]) -> list[np.ndarray]:
        """(N,) for each anchor of a relation but the robot and parts, the probability to be it."""
        anchors = () if is_part(relation) else relation.anchors
        return [self._share(a, logits) for a in anchors if not is_self_reference(a)]

    def _holds(
        self,
        relation: RelationPhrase,
        shares: Sequence[np.ndarray],
        likely: np.ndarray,
        viewer: Viewer | None,
    ) -> np.ndarray | None:
        """(N,) how far a relation holds for each object, given how likely each object is to be its
        anchors, (N,) for each; None for one that boxes do not tell.
        """
        name, terms = relation.predicate, self.terms
        if is_part(relation):
            return None
        to_self = any(is_self_reference(a) for a in relation.anchors)
        if name in ("closest", "farthest") and (shares or terms.camera is not None):
            point = terms.camera if to_self or not shares else None
            return terms.distance_to(name, point, shares[0] if shares else None, likely)
        if to_self and terms.camera is not None and name in ("next_to", "near"):
            return terms.distance_to("closest", terms.camera, None, likely)
        if name == "between" and len(shares) > 1:
            return terms.between(*shares[:2])
        if shares:
            return terms.to_anchor(name, shares[0], viewer)
        return (
            terms.in_room(name) if (found := terms.order(name, likely, viewer)) is None else found
        )


class _Sum:
    """Log scores (N + 1) as the weighted sum of terms, "nothing" last."""

    def __init__(self, weights: Weights, count: int) -> None:
        self._weights, self.scores = weights, np.zeros(count + 1)
        self.terms: dict[str, np.ndarray] = {}

    def add(self, name: str, term: np.ndarray) -> None:
        """Add a term (N,) of the objects, or (N + 1) of "nothing" too."""
        if len(term) < len(self.scores):
            term = np.append(term, 0.0)
        self.terms[name] = self.terms.get(name, 0.0) + term
        self.scores = self.scores + self._weights.of(name) * term

    def add_nothing(self, name: str, value: float) -> None:
        """Add a term of "nothing" alone."""
        self.add(name, np.append(np.zeros(len(self.scores) - 1), value))

    @property
    def likely(self) -> np.ndarray:
        """(N,) probability of each object over that of the likeliest."""
        return np.exp(self.scores[:-1] - self.scores[:-1].max())


def _of_all(description: Description) -> bool:
    """Whether sizes of all objects are compared: "the largest object"."""
    return is_anything(description.head) and description.superlative in SIZES


def _colors(words: Sequence[str]) -> set[str]:
    """The colours among words."""
    return {"gray" if word == "grey" else word for word in words} & COLORS.keys()


def _color_share(item: SceneObject, asked: set[str]) -> float:
    """How likely an object has one of some colours, over its likeliest one; 1 if none is asked."""
    if not asked or item.color in asked:
        return 1.0
    shares = dict(item.colors)
    share = sum(shares.get(name, 0.0) for name in asked) / max(shares.get(item.color, 0.0), 0.5)
    return min(share, 1.0)


def _log(least: float, share: np.ndarray) -> np.ndarray:
    """Logarithm of shares (N,) from 0 to 1, of which 0 counts as `least`."""
    return np.log(least + (1 - least) * share)
