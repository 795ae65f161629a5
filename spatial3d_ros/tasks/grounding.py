"""From the logits of the grounding head to ranked objects and a sentence (METHODS 1.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from spatial3d_ros.errors import NotFoundError
from spatial3d_ros.geometry.box import iou
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import Grounding, Point, ScoredObject, format_point

TARGET_MASS = 0.4  # probability that the targets of a multi-target answer sum to
TIE_RATIO = 0.7  # an object with this much of the best probability is a tie
MAX_CANDIDATES = 3  # nearest candidates named if nothing matches
EMPTY_MAP = "The object map is empty."
_SAME_OBJECT_IOU = 0.25  # overlap from which two boxes are the same object, and no tie
_SELF = {"me", "you", "us", "here", "i", "myself", "yourself", "robot", "camera"}


def is_self(phrase: str) -> bool:
    """Whether a phrase refers to the robot, or to a person who speaks through it."""
    return phrase.lower().strip(" ?.!").removeprefix("the ") in _SELF


def rank(
    scores: Tensor, objects: Sequence[SceneObject], limit: int
) -> tuple[tuple[ScoredObject, ...], bool]:
    """The best objects, and whether "no target" wins: scores (N + 1,) logits, "no target" last."""
    probabilities = scores.float().softmax(-1)
    best = probabilities[:-1].topk(min(limit, len(objects)))
    ranked = tuple(
        ScoredObject(objects[i], probability)
        for i, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
    return ranked, bool(scores.argmax() == len(objects))


def count_targets(scores: Tensor, mass: float = TARGET_MASS) -> int:
    """Number of targets (METHODS 1.8, multi-target decoding): 0 if "no target" wins, else the
    fewest objects whose probabilities among the objects sum to `mass`.

    scores (N + 1,) logits, "no target" last. A question with one target gives one, as its
    probability is high.
    """
    if int(scores.argmax()) == len(scores) - 1:
        return 0
    probabilities = scores[:-1].float().softmax(-1).sort(descending=True).values
    return int((probabilities.cumsum(-1) < mass).sum()) + 1


def ties(ranked: Sequence[ScoredObject]) -> tuple[ScoredObject, ...]:
    """Of objects, best first, those with at least 0.7 of the best probability; a second box of the
    same object is left out.
    """
    tied: list[ScoredObject] = []
    for scored in ranked:
        if scored.score < TIE_RATIO * ranked[0].score:
            break
        if all(iou(scored.object.box, other.object.box) < _SAME_OBJECT_IOU for other in tied):
            tied.append(scored)
    return tuple(tied)


def assign_distinct(scores: Tensor) -> list[int]:
    """Indices of the most probable distinct objects for Q phrases: scores (Q, N + 1), "no target"
    is ignored; N must be Q or more.
    """
    log_probabilities = scores[:, :-1].float().log_softmax(-1).numpy()
    cost = np.maximum(log_probabilities, -1e6)
    return [int(k) for k in linear_sum_assignment(cost, maximize=True)[1]]


def match_phrases(
    phrases: Sequence[str], scores: Tensor, objects: Sequence[SceneObject]
) -> tuple[list[ScoredObject], tuple[ScoredObject, ...]]:
    """One object per phrase, all distinct, and the alternatives: ties that were not chosen.

    Raises NotFoundError for the first phrase that matches no object, with nearest candidates.
    """
    for phrase, row in zip(phrases, scores, strict=True):
        ranked, no_target = rank(row, objects, MAX_CANDIDATES)
        if no_target or not ranked:
            raise NotFoundError(describe(ranked, True, phrase))
    if len(phrases) > len(objects):
        raise NotFoundError(
            f"'{phrases[-1]}': the object map holds {len(objects)} object(s), too few for this "
            "question"
        )
    chosen = assign_distinct(scores) if phrases else []
    matched = [
        ScoredObject(objects[k], float(row.softmax(-1)[k]))
        for k, row in zip(chosen, scores.float(), strict=True)
    ]
    alternatives: dict[int, ScoredObject] = {}
    for row in scores:
        for tied in ties(rank(row, objects, len(objects))[0]):
            if tied.object.id not in {objects[k].id for k in chosen}:
                alternatives.setdefault(tied.object.id, tied)
    return matched, tuple(alternatives.values())


def object_name(known: SceneObject) -> str:
    """The object as answers name it: "the red chair", "object 7"."""
    words = " ".join(filter(None, (known.color, known.label)))
    return f"the {words}" if words else f"object {known.id}"


def object_at(scored: ScoredObject) -> str:
    """The object as answers name it, with its center."""
    return f"{object_name(scored.object)} at {format_point(scored.object.box.center)} m"


def centers_of(scored: Sequence[ScoredObject]) -> tuple[Point, ...]:
    """The centers that `object_at` prints."""
    return tuple(entry.object.box.center for entry in scored)


def list_alternatives(alternatives: Sequence[ScoredObject]) -> str:
    """The end of a sentence whose phrases match other objects too; "" without any."""
    if not alternatives:
        return ""
    return f"; the phrases also match {' or '.join(map(object_at, alternatives))}"


def describe(
    ranked: Sequence[ScoredObject], no_target: bool, query: str, num_targets: int = 1
) -> str:
    """The sentence of a grounding; the first `num_targets` of the ranked objects are the answer."""
    if not ranked:
        return EMPTY_MAP
    if no_target:
        names = ", ".join(object_name(entry.object) for entry in ranked[:MAX_CANDIDATES])
        return f"No object matches '{query}'; nearest: {names}."
    listed = [object_at(entry) for entry in listed_objects(ranked, no_target, num_targets)]
    if len(listed) == 1:
        return listed[0].capitalize()
    what = "objects" if num_targets > 1 else "objects match about equally well"
    return f"{len(listed)} {what}: {'; '.join(listed)}"


def listed_objects(
    ranked: Sequence[ScoredObject], no_target: bool, num_targets: int = 1
) -> tuple[ScoredObject, ...]:
    """The objects that `describe` lists with their centers: all targets, or the ties of one."""
    if no_target:
        return ()
    return tuple(ranked[:num_targets]) if num_targets > 1 else ties(ranked)


def grounding_answer(
    query: str, scores: Tensor, objects: Sequence[SceneObject], limit: int, **provenance: Any
) -> Grounding:
    """The answer, with at most `limit` objects: scores (N + 1,) logits, "no target" last."""
    ranked, no_target = rank(scores, objects, len(objects))
    best = ranked[:limit]
    num_targets = min(count_targets(scores), len(best))
    listed = listed_objects(ranked, no_target, num_targets)
    text = describe(ranked, no_target, query, num_targets)
    num_ties = 1 if no_target or num_targets > 1 else len(listed)
    return Grounding(
        query, best, no_target, text, num_targets, num_ties,
        text_points=centers_of(listed), **provenance,
    )  # fmt: skip
