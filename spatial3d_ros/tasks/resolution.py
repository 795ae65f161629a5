"""Which objects a description refers to: the network's scores and exact geometry together.

Log scores add up: the network's for the whole phrase, the object's label, its colour, and one term
for each relation and superlative, computed from boxes. What each brings alone is measured by
leaving its weight out (`Weights`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spatial3d_ros.categories import COLORS
from spatial3d_ros.errors import QueryError
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.points import is_point_word
from spatial3d_ros.tasks.query import Description, RelationPhrase
from spatial3d_ros.tasks.relation_terms import RelationTerms
from spatial3d_ros.tasks.vocabulary import SELF, Vocabulary, is_anything, normalize

PhraseScores = Callable[[Sequence[str]], np.ndarray]
"""Phrases (Q) -> the network's logits (Q, N + 1) of the objects, "nothing" last."""

SAME = 0.5  # share of the smaller box inside the other from which two boxes are one object
_MAJORITY = 0.5  # share of the labels of a recogniser from which an object is there
_BESIDE_LABELS = 0.15  # of the network's score where a recogniser names what is asked for
_NAMED_BESIDE = 0.5  # of the network's own names there
_OTHER_COLOR = 0.7  # how far an object of the right label but another colour speaks for itself
_SIZE_WORDS = {
    "small": "smallest", "little": "smallest", "tiny": "smallest", "large": "largest",
    "big": "largest", "huge": "largest", "tall": "tallest", "high": "tallest", "low": "shortest",
    "short": "shortest", "long": "longest",
}  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Weights of the terms, in nats for a contradiction; chosen on rooms that no figure uses.

    relations: of single predicates, where they differ from `relation`.
    """

    network: float = 1.0
    label: float = 3.0
    detector_label: float = 6.0
    color: float = 1.5
    relation: float = 2.0
    superlative: float = 2.0
    size_word: float = 1.0
    absent: float = 4.0
    present: float = 3.0
    relations: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolution:
    """Log scores (N + 1) of the objects for one description, "nothing" last, normalised; and `fits`
    (N,), how far its relations, orders and size words hold for each object, 0 to 1.
    """

    description: Description
    scores: np.ndarray
    fits: np.ndarray

    @property
    def best(self) -> int:
        """The likeliest object; N where nothing fits."""
        return int(self.scores.argmax())

    @property
    def nothing(self) -> bool:
        """Whether nothing in the map fits."""
        return self.best == len(self.scores) - 1


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
        weights: Weights = Weights(),
    ) -> None:
        self.objects, self.boxes = tuple(objects), boxes.reshape(-1, 6)
        self.weights, self.vocabulary = weights, vocabulary
        self.labels = [normalize(o.label) for o in self.objects]
        self.terms = RelationTerms(self.boxes, self.labels, camera)
        self._phrase_scores = phrase_scores
        self._referred = np.zeros(len(self.objects))
        self._referred[list(referred)] = 1 / max(len(referred), 1)

    def resolve(self, descriptions: Sequence[Description]) -> list[Resolution]:
        """Resolve descriptions of known nouns, with one pass of the network for all of them, their
        anchors and viewpoints. Raises QueryError for "it" without an answer to refer to.
        """
        if not self.objects:
            return [Resolution(d, np.zeros(1), np.zeros(0)) for d in descriptions]
        texts = list(dict.fromkeys(_phrase(d) for one in descriptions for d in _all_phrases(one)))
        logits = dict(zip(texts, self._phrase_scores(texts), strict=True)) if texts else {}
        return [self._resolved(d, logits) for d in descriptions]

    def matching(self, description: Description) -> np.ndarray:
        """(N,) whether an object's label, and its colour where one is asked for, match."""
        labels = self._labels(description)
        match = np.array([labels is None or label in labels for label in self.labels], bool)
        return match & (self._color_term(description) == 0)

    def distinct(self, indices: Sequence[int], rank: Sequence[float]) -> list[int]:
        """Of boxes that largely share their volume only the one of the highest `rank` (N,)."""
        kept: list[int] = []
        for i in sorted(indices, key=lambda i: -rank[i]):
            if all(self.terms.shared[i, j] < SAME for j in kept):
                kept.append(i)
        return kept

    def _resolved(self, description: Description, logits: dict[str, np.ndarray]) -> Resolution:
        if description.pronoun and not description.head:
            scores = np.append(np.log(self._it(description) + 1e-6), -6.0)
        else:
            scores = self._plain(description, logits[_phrase(description)])
        fits, viewer = np.ones(len(self.objects)), self._viewer(description, logits)
        for relation in description.relations:
            holds = self._holds(relation, logits, _likely(scores), viewer)
            if holds is not None:
                holds = 1 - holds if relation.negated else holds
                weight = self.weights.relations.get(relation.predicate, self.weights.relation)
                scores[:-1] += weight * np.log(0.05 + 0.95 * holds)
                fits = fits * holds
        order = self._order(description, _likely(scores), viewer)
        if order is not None:
            scores[:-1] += self.weights.superlative * np.log(0.02 + 0.98 * order)
            fits = fits * order
        for word in description.modifiers:
            size = self.terms.order(_SIZE_WORDS.get(word, ""), _likely(scores), viewer)
            if size is not None:
                scores[:-1] += self.weights.size_word * np.log(0.3 + 0.7 * size)
        return Resolution(description, scores - np.logaddexp.reduce(scores), fits)

    def _order(
        self, description: Description, likely: np.ndarray, viewer: np.ndarray | None
    ) -> np.ndarray | None:
        """(N,) how well objects fit the superlative or ordinal of a description, None without."""
        name = description.superlative or ("leftmost" if description.ordinal else "")
        if not name or (name in ("closest", "farthest") and description.relations):
            return None  # "closest to the door" is a relation
        distinct = np.zeros(len(likely))
        kept = self.distinct(range(len(likely)), likely.tolist())
        distinct[kept] = likely[kept]
        return self.terms.order(name, distinct, viewer, description.ordinal)

    def _share(self, description: Description, logits: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) probability of each object to be an anchor or a viewpoint."""
        share = _likely(self._resolved(description, logits).scores)
        return share / share.sum()

    def _it(self, description: Description) -> np.ndarray:
        if not self._referred.any():
            raise QueryError(
                f"query: '{description.text}' refers to no earlier answer; name the object, or ask "
                "with the conversation_id of a question of the last minute"
            )
        return self._referred

    def _plain(self, description: Description, logits: np.ndarray) -> np.ndarray:
        """Log scores (N + 1): network, label and colour together."""
        w = self.weights
        scores = w.network * (logits - np.logaddexp.reduce(logits))
        labels, color = self._labels(description), self._color_term(description)
        if labels is not None:
            firm = np.array([o.label_from_detector for o in self.objects], bool)
            match = self._label_shares(labels, firm)
            if (match[firm] > _MAJORITY).any():
                scores *= _BESIDE_LABELS
                match = np.where(firm, match, match * _NAMED_BESIDE)
            least = np.exp(-np.where(firm, w.detector_label, w.label))
            scores[:-1] += np.log(least + (1 - least) * match)
            sure = np.where(firm, np.minimum(match / _MAJORITY, 1.0), match)
            there = (sure * np.where(color < 0, _OTHER_COLOR, 1.0)).max()
            scores[-1] += w.absent - (w.absent + w.present) * there
        scores[:-1] += w.color * color
        return scores

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

    def _color_term(self, description: Description) -> np.ndarray:
        """(N,) 0 where the colour fits or none is asked for, down to -1 the less likely it is, -3
        where the likeliest one is the one that was denied.
        """
        asked, denied = (
            {"gray" if m == "grey" else m for m in words} & COLORS.keys()
            for words in (description.modifiers, description.excluded)
        )
        return np.array(
            [-3.0 if o.color in denied else _color_share(o, asked) - 1.0 for o in self.objects]
        )

    def _viewer(self, description: Description, logits: dict[str, np.ndarray]) -> np.ndarray | None:
        """(2,) from where sides are seen; None for the camera."""
        if not description.viewpoint or description.viewpoint.split()[-1] in SELF:
            return None
        share = self._share(_viewpoint(description), logits)
        return self.boxes[int(share.argmax()), :2]

    def _holds(
        self,
        relation: RelationPhrase,
        logits: dict[str, np.ndarray],
        likely: np.ndarray,
        viewer: np.ndarray | None,
    ) -> np.ndarray | None:
        """(N,) how far a relation holds for each object; None for one that boxes do not tell."""
        name, terms = relation.predicate, self.terms
        to_self = any(is_self_reference(a) for a in relation.anchors)
        shares = [self._share(a, logits) for a in relation.anchors if not is_self_reference(a)]
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


def _color_share(item: SceneObject, asked: set[str]) -> float:
    """How likely an object has one of some colours, over its likeliest one; 1 if none is asked."""
    if not asked or item.color in asked:
        return 1.0
    shares = dict(item.colors)
    return sum(shares.get(name, 0.0) for name in asked) / max(shares.get(item.color, 0.0), 0.5)


def _likely(scores: np.ndarray) -> np.ndarray:
    """(N,) probability of each object over that of the likeliest, of log scores (N + 1)."""
    return np.exp(scores[:-1] - scores[:-1].max())


def is_self_reference(description: Description) -> bool:
    """Whether a description is the robot, or a person who speaks through it."""
    words = (description.head or description.text).split()
    return bool(words) and words[-1] in SELF


def is_fixed(description: Description) -> bool:
    """Whether a description is no object of the map: the robot, or a point "(1.0, 2.0, 0.5)"."""
    return is_self_reference(description) or is_point_word(description.head or description.text)


def rewritten(
    description: Description, known: Callable[[str], str], modifier: Callable[[str], str]
) -> Description:
    """The description with its nouns and modifiers, and those of its anchors and viewpoint,
    replaced by what `known` and `modifier` give for them.
    """
    anchors = tuple(
        replace(r, anchors=tuple(rewritten(a, known, modifier) for a in r.anchors))
        for r in description.relations
    )
    head = known(description.head) if description.head else ""
    modifiers = tuple(map(modifier, description.modifiers))
    pairs = [(description.head, head), *zip(description.modifiers, modifiers, strict=True)]
    for old, new in zip(description.relations, anchors, strict=True):
        pairs += [(a.text, b.text) for a, b in zip(old.anchors, new.anchors, strict=True)]
    viewpoint = description.viewpoint
    if viewpoint and viewpoint.split()[-1] not in SELF:
        viewpoint = known(viewpoint)
    text = description.text
    for before, after in pairs:
        if before and before != after:
            text = text.replace(before, after, 1)
    return replace(
        description,
        text=text,
        head=head,
        modifiers=modifiers,
        relations=anchors,
        viewpoint=viewpoint,
    )


def _all_phrases(description: Description) -> list[Description]:
    """A description, its anchors at any depth, and its viewpoint: those that the network scores."""
    found = [] if description.pronoun and not description.head else [description]
    for relation in description.relations:
        for anchor in relation.anchors:
            if not is_self_reference(anchor):
                found += _all_phrases(anchor)
    if description.viewpoint and description.viewpoint.split()[-1] not in SELF:
        found.append(_viewpoint(description))
    return found


def _viewpoint(description: Description) -> Description:
    return Description(f"the {description.viewpoint}", description.viewpoint)


def _phrase(description: Description) -> str:
    """The words that the network is asked; what refers to the conversation is left out."""
    pronouns = any(a.pronoun for r in description.relations for a in r.anchors)
    if pronouns or description.excluded:
        words = (*description.modifiers, description.head or "object")
        return f"the {' '.join(words)}"
    text = description.text
    return text if text.split()[:1] in (["the"], ["all"], ["both"], ["a"]) else f"the {text}"
