"""How well an object map agrees with the objects seen: found, named, duplicates, ids that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.categories import find_category, nouns
from spatial3d_ros.geometry.box import Box3D, iou
from spatial3d_ros.scene.objects import SceneObject

FOUND_IOU = 0.25
LabelledBox = tuple[Box3D, str]
SIZES = {"under 0.15 m": 0.15, "0.15 to 0.4 m": 0.4, "0.4 to 1 m": 1.0, "over 1 m": np.inf}


@dataclass(frozen=True)
class MapScores:
    """Best overlap of each object seen with any box of the map; scores of several maps add up.

    `longest` is the longest side of each object in metres, `named` whether the best box has the
    right label. `boxes` counts all boxes of the map. `kept` counts the objects found after two
    refreshes in a row with one id, of `followed`, those found after the first and still seen.
    """

    ious: tuple[float, ...] = ()
    longest: tuple[float, ...] = ()
    named: tuple[bool, ...] = ()
    boxes: int = 0
    kept: int = 0
    followed: int = 0

    @classmethod
    def of(cls, found: Sequence[LabelledBox], truth: Sequence[LabelledBox]) -> MapScores:
        """Scores of the boxes of one map against those of the objects seen, in one frame."""
        overlaps = overlap_matrix([box for box, _ in truth], [box for box, _ in found])
        best = overlaps.max(1, initial=0.0)
        named = [
            bool(best[k] >= FOUND_IOU) and same_noun(found[int(overlaps[k].argmax())][1], label)
            for k, (_, label) in enumerate(truth)
        ]
        longest = [max(box.size) for box, _ in truth]
        return cls(tuple(best.tolist()), tuple(longest), tuple(named), len(found))

    def __add__(self, other: MapScores) -> MapScores:
        return MapScores(
            self.ious + other.ious,
            self.longest + other.longest,
            self.named + other.named,
            self.boxes + other.boxes,
            self.kept + other.kept,
            self.followed + other.followed,
        )

    def recall(self, threshold: float) -> float:
        """Share of the objects seen whose best overlap is at least `threshold`; NaN without any."""
        return _share([overlap >= threshold for overlap in self.ious])

    def json(self) -> dict[str, object]:
        """Everything as plain data; a share without objects is null."""
        found = [overlap >= FOUND_IOU for overlap in self.ious]
        lower = (0.0, *SIZES.values())
        by_size = {
            name: [f for f, side in zip(found, self.longest, strict=True) if low <= side < high]
            for low, (name, high) in zip(lower, SIZES.items(), strict=False)
        }
        return {
            "objects_seen": len(self.ious),
            "objects_mapped": self.boxes,
            "boxes_per_object": _known(self.boxes / len(self.ious) if self.ious else float("nan")),
            "found": sum(found),
            "named": sum(self.named),
            "recall@0.25": _known(self.recall(0.25)),
            "recall@0.5": _known(self.recall(0.5)),
            "recall_by_size": {
                name: {"n": len(group), "recall@0.25": _known(_share(group))}
                for name, group in by_size.items()
            },
            "kept_ids": _known(self.kept / self.followed if self.followed else float("nan")),
        }

    def text(self) -> str:
        """One line for people."""
        if not self.ious:
            return f"object map: {self.boxes} boxes, no object seen"
        parts = [
            f"object map: {self.boxes} boxes for {len(self.ious)} objects seen",
            f"recall@0.25 {self.recall(0.25):.1%}, recall@0.5 {self.recall(0.5):.1%}",
            f"{self.boxes / len(self.ious):.2f} boxes per object",
            f"{sum(self.named)} named right",
        ]
        if self.followed:
            parts.append(f"{self.kept / self.followed:.1%} of ids kept from refresh to refresh")
        return ", ".join(parts)


class IdentityCount:
    """Counts, over the maps of successive refreshes, the true objects that keep their id.

    An object counts as `followed` if a box overlaps it before a refresh; it is `kept` if the id of
    the best of these boxes overlaps it after the refresh too.
    """

    def __init__(self, truth: Sequence[Box3D]) -> None:
        self.kept = self.followed = 0
        self._truth = truth
        self._ids: dict[int, int] = {}  # by index of the true object

    def add(self, objects: Sequence[SceneObject]) -> None:
        """The map after the next refresh."""
        overlaps = overlap_matrix(self._truth, [known.box for known in objects])
        found = [{objects[k].id for k in np.flatnonzero(row >= FOUND_IOU)} for row in overlaps]
        self.followed += len(self._ids)
        self.kept += sum(known in found[k] for k, known in self._ids.items())
        best = overlaps.argmax(1) if len(objects) else np.zeros(len(found), int)
        self._ids = {k: objects[best[k]].id for k, ids in enumerate(found) if ids}


def overlap_matrix(a: Sequence[Box3D], b: Sequence[Box3D]) -> np.ndarray:
    """IoU (N, M) of boxes of any yaw."""
    return np.array([[iou(x, y) for y in b] for x in a]).reshape(len(a), len(b))


def same_noun(label: str, other: str) -> bool:
    """Whether two labels name one kind of object: by category where both end in a known noun, by
    their last word otherwise ("office chair" and "chair").
    """
    return bool(label and other) and _kind(label) == _kind(other)


def _kind(label: str) -> str:
    label = label.lower().strip()
    category = find_category(label)
    if category and any(label.endswith((noun, f"{noun}s")) for noun in nouns(category)):
        return category
    return label.split()[-1].rstrip("s")


def _share(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
