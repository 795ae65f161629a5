"""A reader of Sr3D-style sentences that needs no learning: what such sentences are worth at most.

It knows only the sentence and the room, never how the sentence was made: names, one relation, the
anchors' boxes and, for sides, their fronts. Where it errs, a sentence is ambiguous or its truth is
in doubt; where it is right and the network is not, the network has something to learn. Its measures
are not those that made the sentences (research/datasets/relation_sentences.py): free space between
boxes instead of distances of centres, the angle under which a target sees both anchors instead of a
strip, the smallest angle instead of a sector.
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
"""In this order, because "on the left" names "on", and "seen from in front of it" names "front"."""


OPPOSITES = {
    "closest": "far", "farthest": "near", "above": "below", "below": "above", "left": "right",
    "right": "left", "front": "behind", "behind": "front",
}  # fmt: skip
"""For the relation of a sentence (relation_sentences.py), the rule that means the opposite."""


def choose_by_rule(room: BoxRoom, text: str, relation: str | None = None) -> int | None:
    """The slot that fits a sentence best, or would if it said another `relation`; None when its
    names or its relation are not understood, or when it asks for a side of something without a
    front.
    """
    if relation is None:
        relation = next((name for name, told in _RELATIONS if re.search(told, text.lower())), None)
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


def _aside(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """The same on the floor plan, m."""
    free = np.abs(boxes[:, :2] - anchor[:2]) - (boxes[:, 3:5] + anchor[3:5]) / 2
    return np.linalg.norm(free.clip(min=0), axis=1)


def _above(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    return _aside(boxes, anchor) + 10 * (boxes[:, 2] < anchor[2])


def _below(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    return _aside(boxes, anchor) + 10 * (boxes[:, 2] > anchor[2])


def _standing(boxes: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    bottom, top = boxes[:, 2] - boxes[:, 5] / 2, anchor[2] + anchor[5] / 2
    return _aside(boxes, anchor) + np.abs(bottom - top)


def _angles(boxes: np.ndarray, anchor: np.ndarray, front: np.ndarray, relation: str) -> np.ndarray:
    """How far (rad) boxes (M, 6) lie from a side, for somebody who stands before the anchor's
    `front` (3,) and looks at it.
    """
    looks = anchor[:2] - front[:2]
    left = np.array([-looks[1], looks[0]])
    side = _TURNS[relation] @ np.stack([left, looks]) / np.linalg.norm(looks)
    offset = boxes[:, :2] - anchor[:2]
    cosine = offset @ side / np.maximum(np.linalg.norm(offset, axis=1), 1e-6)
    return np.arccos(cosine.clip(-1, 1))


_TURNS = {
    "left": np.array([1, 0]),
    "right": np.array([-1, 0]),
    "behind": np.array([0, 1]),
    "front": np.array([0, -1]),
}
"""Of each side: how much to the looker's left, and how much ahead."""
_COSTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "near": _space,
    "far": lambda boxes, anchor: -_space(boxes, anchor),
    "above": _above,
    "below": _below,
    "on": _standing,
}
