"""Rules for Sr3D-style sentences without learning: an upper baseline.

The rules use the sentence and the room only: names, one relation, the boxes of the anchors and, for
sides, their fronts. If they fail, the sentence is ambiguous or its truth is doubtful; if they are
right and the network is not, the network can improve. Their measures differ from those that
generated the sentences (research/datasets/relation_sentences.py): free space between boxes in place
of distances of centers, the angle between the directions to both anchors in place of a strip, the
smallest angle in place of a sector.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.evaluation.public.referit_heuristic import named_labels

_RELATIONS = (
    ("between", r"\bbetween\b"),
    ("left", r"\bleft\b"),
    ("right", r"\bright\b"),
    ("behind", r"\b(?:behind|back)\b"),
    ("far", r"\b(?:farthest|furthest)\b"),
    ("near", r"\b(?:closest|nearest)\b"),
    ("above", r"\b(?:above|over)\b"),
    ("below", r"\b(?:below|under|beneath)\b"),
    ("on", r"\bon\b|\bsupported by\b"),
    ("front", r"\bfront\b"),
)
"""In this order: "on the left" contains "on", "seen from in front of it" contains "front"."""


OPPOSITES = {
    "closest": "far", "farthest": "near", "above": "below", "below": "above", "left": "right",
    "right": "left", "front": "behind", "behind": "front",
}  # fmt: skip
"""Relation of a sentence (relation_sentences.py) -> the rule of the opposite relation."""


def choose_by_rule(room: BoxRoom, text: str, relation: str | None = None) -> int | None:
    """The best slot for a sentence, or for its names with another `relation`.

    None if the names or the relation cannot be parsed, or for a side of an anchor without a front.
    """
    if relation is None:
        relation = next(
            (name for name, pattern in _RELATIONS if re.search(pattern, text.lower())), None
        )
    named = named_labels(text, room.labels)
    single = [label for label in named if room.count(label) == 1]
    several = [label for label in named if room.count(label) > 1]
    if relation is None or not single or len(several) != 1:
        return None
    targets = np.array([k for k, label in enumerate(room.labels) if label == several[0]])
    anchors = [room.labels.index(label) for label in dict.fromkeys(single)]
    boxes = room.boxes[targets]
    if relation == "between":
        if len(anchors) != 2:
            return None
        to_a, to_b = room.boxes[anchors, None, :3] - boxes[:, :3]
        lengths = np.linalg.norm(to_a, axis=1) * np.linalg.norm(to_b, axis=1)
        return int(targets[((to_a * to_b).sum(1) / np.maximum(lengths, 1e-6)).argmin()])
    anchor = room.boxes[anchors[0]]
    if relation in _TURNS:
        front = room.objects[anchors[0]].front_point
        if front is None:
            return None
        return int(targets[_angles(boxes, anchor, np.array(front), relation).argmin()])
    return int(targets[_COSTS[relation](boxes, anchor).argmin()])


def _space(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Free space between boxes (M, 6) and the anchor's (6,), m."""
    free = np.abs(boxes[:, :3] - anchor[:3]) - (boxes[:, 3:] + anchor[3:]) / 2
    return np.linalg.norm(free.clip(min=0), axis=1)


def _floor_gap(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Free space on the floor plan, m."""
    free = np.abs(boxes[:, :2] - anchor[:2]) - (boxes[:, 3:5] + anchor[3:5]) / 2
    return np.linalg.norm(free.clip(min=0), axis=1)


def _above(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    return _floor_gap(boxes, anchor) + 10 * (boxes[:, 2] < anchor[2])


def _below(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    return _floor_gap(boxes, anchor) + 10 * (boxes[:, 2] > anchor[2])


def _resting(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    bottom, top = boxes[:, 2] - boxes[:, 5] / 2, anchor[2] + anchor[5] / 2
    return _floor_gap(boxes, anchor) + np.abs(bottom - top)


def _angles(boxes: np.ndarray, anchor: np.ndarray, front: np.ndarray, relation: str) -> np.ndarray:
    """Angles (rad) between boxes (M, 6) and a side, for a viewer at the anchor's `front` (3,) who
    faces the anchor.
    """
    ahead = anchor[:2] - front[:2]
    left = np.array([-ahead[1], ahead[0]])
    side = _TURNS[relation] @ np.stack([left, ahead]) / np.linalg.norm(ahead)
    offset = boxes[:, :2] - anchor[:2]
    cosine = offset @ side / np.maximum(np.linalg.norm(offset, axis=1), 1e-6)
    return np.arccos(cosine.clip(-1, 1))


_TURNS = {
    "left": np.array([1, 0]),
    "right": np.array([-1, 0]),
    "behind": np.array([0, 1]),
    "front": np.array([0, -1]),
}
"""Side -> components to the viewer's left and ahead."""
_COSTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "near": _space,
    "far": lambda boxes, anchor: -_space(boxes, anchor),
    "above": _above,
    "below": _below,
    "on": _resting,
}
