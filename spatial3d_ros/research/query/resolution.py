"""Which objects a description refers to: the network's scores and exact geometry together.

Log scores add up: the network's for the whole phrase, the object's label, its colour, and one term
for each relation and superlative, computed from boxes. What each brings alone is measured by
leaving its weight out (`Weights`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from spatial3d_ros.categories import COLORS
from spatial3d_ros.geometry import relations as geometry
from spatial3d_ros.research.query.vocabulary import UnknownWordError, Vocabulary, is_anything
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.query import Description, RelationPhrase

PhraseScores = Callable[[Sequence[str]], np.ndarray]
"""Phrases (Q) -> the network's logits (Q, N + 1) of the objects, "nothing" last."""


@dataclass(frozen=True)
class Weights:
    """Weights of the terms, in nats for a contradiction; chosen on rooms that no figure uses."""

    network: float = 1.0
    label: float = 3.0
    detector_label: float = 6.0
    color: float = 1.5
    relation: float = 2.0
    superlative: float = 2.0
    absent: float = 4.0
    present: float = 1.0


@dataclass(frozen=True)
class Resolution:
    """Log scores (N + 1) of the objects for one description, "nothing" last, normalised; and the
    `labels` that its head noun can stand for, None for any object.
    """

    description: Description
    scores: np.ndarray
    labels: tuple[str, ...] | None

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
    """

    def __init__(
        self,
        objects: Sequence[SceneObject],
        boxes: np.ndarray,
        camera: np.ndarray | None,
        phrase_scores: PhraseScores,
        weights: Weights = Weights(),
    ) -> None:
        self.objects, self.boxes, self.camera = tuple(objects), boxes.reshape(-1, 6), camera
        self.weights = weights
        self.vocabulary = Vocabulary(o.label for o in objects)
        self.pairs = geometry.BoxPairs(self.boxes)
        self._phrase_scores = phrase_scores

    def corrected(self, description: Description) -> tuple[Description, list[tuple[str, str]]]:
        """The description in known nouns, and what was corrected in them.

        Raises UnknownWordError naming the first noun that nothing knows.
        """
        changes: list[tuple[str, str]] = []

        def known(noun: str) -> str:
            if is_anything(noun) or self.vocabulary.labels_of(noun) is not None:
                return self.vocabulary.canonical(noun)
            near = self.vocabulary.corrected(noun)
            if near is None:
                raise UnknownWordError(
                    f"query: I do not know the word '{noun}'; I know "
                    f"{', '.join(self.vocabulary.names())} and more. A recogniser or detector can "
                    "add words"
                )
            changes.append((noun, near))
            return self.vocabulary.canonical(near)

        def rewritten(one: Description) -> Description:
            head = known(one.head)
            relations = tuple(
                replace(r, anchors=tuple(rewritten(a) for a in r.anchors)) for r in one.relations
            )
            text = one.text
            pairs = [(one.head, head)]
            for old, new in zip(one.relations, relations, strict=True):
                pairs += [(a.head, b.head) for a, b in zip(old.anchors, new.anchors, strict=True)]
            for before, after in pairs:
                if before and before != after:
                    text = text.replace(before, after, 1)
            return replace(one, text=text, head=head, relations=relations)

        return rewritten(description), changes

    def resolve(self, descriptions: Sequence[Description]) -> list[Resolution]:
        """Resolve descriptions of known nouns, with one pass of the network for all of them and
        their anchors.
        """
        anchors = [a for d in descriptions for r in d.relations for a in r.anchors if a.head]
        texts = list(dict.fromkeys([_phrase(d) for d in (*descriptions, *anchors)]))
        if not self.objects:
            empty = np.zeros(1)
            return [Resolution(d, empty, self._labels(d)) for d in descriptions]
        logits = dict(zip(texts, self._phrase_scores(texts), strict=True))
        found = {id(a): self._plain(a, logits[_phrase(a)]) for a in anchors}
        return [self._resolved(d, logits[_phrase(d)], found) for d in descriptions]

    def matching(self, description: Description) -> np.ndarray:
        """(N,) whether an object's label, and its colour where one is asked for, match."""
        labels = self._labels(description)
        match = np.array([labels is None or o.label.lower() in labels for o in self.objects], bool)
        return match & (self._color_term(description) == 0)

    def _resolved(
        self, description: Description, logits: np.ndarray, anchors: dict[int, np.ndarray]
    ) -> Resolution:
        scores = self._plain(description, logits, log=True)
        candidates = np.exp(scores[:-1] - scores[:-1].max()) if len(scores) > 1 else scores[:0]
        for relation in description.relations:
            holds = self.holds(relation, anchors, candidates)
            if holds is not None:
                holds = 1 - holds if relation.negated else holds
                scores[:-1] += self.weights.relation * np.log(0.05 + 0.95 * holds)
        order = self.order(description, candidates)
        if order is not None:
            scores[:-1] += self.weights.superlative * np.log(0.02 + 0.98 * order)
        scores -= np.logaddexp.reduce(scores)
        return Resolution(description, scores, self._labels(description))

    def _plain(
        self, description: Description, logits: np.ndarray, *, log: bool = False
    ) -> np.ndarray:
        """Network, label and colour together: probabilities (N,) of the objects, or with `log` log
        scores (N + 1).
        """
        w = self.weights
        scores = w.network * (logits - np.logaddexp.reduce(logits))
        labels = self._labels(description)
        if labels is not None:
            match = np.array([o.label.lower() in labels for o in self.objects], bool)
            firm = np.array([o.label_from_detector for o in self.objects], bool)
            scores[:-1] -= np.where(match, 0.0, np.where(firm, w.detector_label, w.label))
            scores[-1] += w.absent if not match.any() else -w.present
        scores[:-1] += w.color * self._color_term(description)
        if log:
            return scores
        rest = np.exp(scores[:-1] - scores[:-1].max())
        return rest / rest.sum()

    def _labels(self, description: Description) -> tuple[str, ...] | None:
        if is_anything(description.head):
            return None
        return self.vocabulary.labels_of(description.head) or ()

    def _color_term(self, description: Description) -> np.ndarray:
        """(N,) 0 where the colour fits or none is asked for, -1 where it does not."""
        asked = {"gray" if m == "grey" else m for m in description.modifiers} & set(COLORS)
        return np.array([0.0 if not asked or o.color in asked else -1.0 for o in self.objects])

    def holds(
        self, relation: RelationPhrase, anchors: dict[int, np.ndarray], candidates: np.ndarray
    ) -> np.ndarray | None:
        """(N,) how far a relation holds for each object, 0 to 1; None for one that boxes do not
        tell.
        """
        shares = [anchors[id(a)] for a in relation.anchors if id(a) in anchors]
        name = relation.predicate
        if name == "between":
            if len(shares) < 2:
                return None
            ends = [share @ self.boxes[:, :3] for share in shares[:2]]
            return geometry.between(
                self.boxes[:, :3], ends[0], ends[1], half_span=0.4, max_off=0.35
            ).astype(float)
        if name == "floor":
            return (self.boxes[:, 2] - self.boxes[:, 5] / 2 < self.floor + 0.12).astype(float)
        if name in ("corner", "middle"):
            return self._position(name)
        if not shares:
            return None
        if name in ("closest", "farthest"):
            distance = self.pairs.distance @ shares[0]
            return _extreme(-distance if name == "closest" else distance, candidates, 0.3)
        return self.relation(name, shares[0])

    def relation(self, name: str, anchor: np.ndarray) -> np.ndarray | None:
        """(N,) how far a relation to an anchor holds, given the probability (N,) of each object to
        be it; None for a relation that boxes do not tell.
        """
        matrix = self._matrix(name)
        if matrix is None:
            return None
        matrix = matrix & ~np.eye(len(self.objects), dtype=bool)
        return np.clip(matrix.astype(float) @ anchor, 0, 1)

    def _matrix(self, name: str) -> np.ndarray | None:
        pairs = self.pairs
        if name in ("on", "in"):
            return geometry.resting_on(pairs, tolerance=0.12, min_share=0.4) | self._inside()
        if name in ("under", "below"):
            under = geometry.tucked_under(pairs, min_share=0.4, top_below=0.1)
            return under | geometry.below(pairs, clearance=-0.1, over=geometry.overlapping(pairs))
        if name == "above":
            return geometry.above(pairs, clearance=-0.1, over=geometry.overlapping(pairs))
        if name in ("next_to", "near"):
            level = ~(geometry.resting_on(pairs, tolerance=0.12, min_share=0.4))
            return geometry.near(pairs, 0.7 if name == "next_to" else 1.2) & level & level.T
        if name in geometry.SIDES and self.camera is not None:
            ahead = self.boxes[None, :, :2] - self.camera
            ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-6)
            along, left = geometry.view_coordinates(pairs.offset[..., :2], ahead)
            return geometry.in_sector(*geometry.side_coordinates(name, along, left), np.pi / 3)
        return None

    def _inside(self) -> np.ndarray:
        """(N, N) whether the target's centre lies in the anchor's box, and the anchor is larger."""
        centers = np.abs(self.pairs.offset) < self.pairs.anchor_size / 2
        larger = self.pairs.anchor_size.prod(-1) > 3 * self.pairs.target_size.prod(-1)
        return centers.all(-1) & larger

    @cached_property
    def shared(self) -> np.ndarray:
        """(N, N) shared volume over that of the smaller box."""
        volumes = self.boxes[:, 3:].prod(-1)
        smaller = np.maximum(np.minimum(volumes[:, None], volumes), 1e-9)
        return self.pairs.overlap.clip(min=0).prod(-1) / smaller

    @property
    def floor(self) -> float:
        """Height of the lowest box."""
        return float((self.boxes[:, 2] - self.boxes[:, 5] / 2).min())

    def _position(self, name: str) -> np.ndarray:
        """How far objects stand in a corner, or in the middle, of what the objects span."""
        low, high = self.boxes[:, :2].min(0), self.boxes[:, :2].max(0)
        share = np.abs(2 * (self.boxes[:, :2] - low) / np.maximum(high - low, 1e-6) - 1)
        return np.clip(share.min(-1) if name == "corner" else 1 - share.max(-1), 0, 1)

    def order(self, description: Description, candidates: np.ndarray) -> np.ndarray | None:
        """(N,) how well an object fits a superlative among the candidates, 1 for the extreme."""
        name = description.superlative
        if not name or not len(candidates):
            return None
        sizes = self.boxes[:, 3:]
        values = {
            "largest": np.cbrt(sizes.prod(-1)), "smallest": -np.cbrt(sizes.prod(-1)),
            "tallest": sizes[:, 2], "shortest": -sizes[:, 2], "longest": sizes[:, :2].max(-1),
        }.get(name)  # fmt: skip
        if name in ("leftmost", "rightmost", "closest", "farthest"):
            if self.camera is None or description.relations:
                return None
            offset = self.boxes[:, :2] - self.camera
            if name in ("closest", "farthest"):
                distance = np.linalg.norm(offset, axis=-1)
                values = -distance if name == "closest" else distance
            else:
                ahead = (candidates[:, None] * offset).sum(0)
                ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
                left = geometry.view_coordinates(offset, ahead)[1]
                values = left if name == "leftmost" else -left
        return None if values is None else _extreme(values, candidates, 0.12)


def _extreme(values: np.ndarray, candidates: np.ndarray, scale: float) -> np.ndarray:
    """1 for the highest value among likely candidates, falling off by `scale`."""
    likely = candidates >= 0.1
    top = values[likely].max() if likely.any() else values.max()
    return np.exp(-np.clip(top - values, 0, None) / scale)


def _phrase(description: Description) -> str:
    """The words that the network is asked."""
    text = description.text
    return text if text.split()[:1] in (["the"], ["all"], ["both"], ["a"]) else f"the {text}"
