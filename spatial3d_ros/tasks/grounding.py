"""From the scores of the grounding head to ranked objects and a sentence (METHODS 1.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from spatial3d_ros.errors import NotFoundError
from spatial3d_ros.geometry.box import iou
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import Grounding, Point, ScoredObject, in_words

MASS = 0.4
NO_OBJECTS = "I have seen no objects yet."
TIE = 0.7  # of the best share: what has as much fits about equally well
NEAREST = 3  # near misses that are named
_RIVALS = 0.25  # overlap (IoU) from which two boxes are two views of one thing
_SELF = {"me", "you", "us", "here", "i", "myself", "yourself", "robot", "camera"}


def is_self(phrase: str) -> bool:
    """Whether a phrase means the robot, or who asks through it."""
    return phrase.lower().strip(" ?.!").removeprefix("the ") in _SELF


def rank(
    scores: Tensor, objects: Sequence[SceneObject], limit: int
) -> tuple[tuple[ScoredObject, ...], bool]:
    """Best objects and whether "nothing" beats them: scores (N + 1,) logits with "nothing" last."""
    shares = scores.float().softmax(-1)
    best = shares[:-1].topk(min(limit, len(objects)))
    ranked = tuple(
        ScoredObject(objects[i], share)
        for i, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
    return ranked, bool(scores.argmax() == len(objects))


def count_targets(scores: Tensor, mass: float = MASS) -> int:
    """How many of the best objects are the answer (1.8, multi-target decoding): none when "nothing"
    wins, else the fewest whose shares among the objects sum to `mass`.

    scores (N + 1,) logits, "nothing" last. A question with one answer gives one, as its share is
    high.
    """
    if int(scores.argmax()) == len(scores) - 1:
        return 0
    shares = scores[:-1].float().softmax(-1).sort(descending=True).values
    return int((shares.cumsum(-1) < mass).sum()) + 1


def ties(ranked: Sequence[ScoredObject]) -> tuple[ScoredObject, ...]:
    """Of objects, best first, those with about the same share, 0.7 of the best or more; another box
    of the same thing is no rival.
    """
    things: list[ScoredObject] = []
    for found in ranked:
        if found.score < TIE * ranked[0].score:
            break
        if all(iou(found.object.box, other.object.box) < _RIVALS for other in things):
            things.append(found)
    return tuple(things)


def distinct(scores: Tensor) -> list[int]:
    """The likeliest different objects for some phrases: scores (Q, N + 1) each, "nothing" not
    considered; N must be Q or more.
    """
    shares = scores[:, :-1].float().log_softmax(-1).numpy()
    return [int(k) for k in linear_sum_assignment(np.maximum(shares, -1e6), maximize=True)[1]]


def find(
    phrases: Sequence[str], scores: Tensor, objects: Sequence[SceneObject]
) -> tuple[list[ScoredObject], tuple[ScoredObject, ...]]:
    """The object that each phrase means, all different, and what they could mean as well.

    Raises NotFoundError for the first phrase that fits nothing, with the nearest candidates.
    """
    for phrase, row in zip(phrases, scores, strict=True):
        ranked, nothing = rank(row, objects, NEAREST)
        if nothing or not ranked:
            raise NotFoundError(describe(ranked, True, phrase))
    if len(phrases) > len(objects):
        raise NotFoundError(
            f"'{phrases[-1]}': I have seen {len(objects)} object(s) only, too few for this question"
        )
    chosen = distinct(scores) if phrases else []
    found = [
        ScoredObject(objects[k], float(row.softmax(-1)[k]))
        for k, row in zip(chosen, scores.float(), strict=True)
    ]
    others: dict[int, ScoredObject] = {}
    for row in scores:
        for other in ties(rank(row, objects, len(objects))[0]):
            if other.object.id not in {objects[k].id for k in chosen}:
                others.setdefault(other.object.id, other)
    return found, tuple(others.values())


def name(thing: SceneObject) -> str:
    """The object in words: "the red chair", "object 7"."""
    words = " ".join(filter(None, (thing.color, thing.label)))
    return f"the {words}" if words else f"object {thing.id}"


def describe(ranked: Sequence[ScoredObject], no_target: bool, query: str, several: int = 1) -> str:
    """The sentence that goes with a grounding; `several` of the ranked objects are meant."""
    if not ranked:
        return NO_OBJECTS
    if no_target:
        misses = [name(miss.object) for miss in ranked[:NEAREST]]
        nearest = f"miss is {misses[0]}" if len(misses) == 1 else f"misses are {', '.join(misses)}"
        return f"I see nothing that fits '{query}'; the nearest {nearest}."
    places = [placed(found) for found in told(ranked, no_target, several)]
    if len(places) == 1:
        return places[0].capitalize()
    why = "objects" if several > 1 else "objects fit about equally well"
    return f"{len(places)} {why}: {'; '.join(places)}"


def grounding_answer(
    query: str, scores: Tensor, objects: Sequence[SceneObject], limit: int, **provenance: Any
) -> Grounding:
    """The answer, with at most `limit` objects: scores (N + 1,) logits with "nothing" last."""
    ranked, nothing = rank(scores, objects, len(objects))
    best = ranked[:limit]
    several = min(count_targets(scores), len(best))
    named = told(ranked, nothing, several)
    text = describe(ranked, nothing, query, several)
    num_ties = 1 if nothing or several > 1 else len(named)
    return Grounding(
        query, best, nothing, text, several, num_ties, places=places_of(named), **provenance
    )


def told(
    ranked: Sequence[ScoredObject], no_target: bool, several: int = 1
) -> tuple[ScoredObject, ...]:
    """Of the ranked objects those whose places the sentence tells: all that are meant, or where one
    is meant, all that fit about as well.
    """
    if no_target:
        return ()
    return tuple(ranked[:several]) if several > 1 else ties(ranked)


def placed(found: ScoredObject) -> str:
    """The object in words, and where it is."""
    return f"{name(found.object)} at {in_words(found.object.box.center)} m"


def places_of(found: Sequence[ScoredObject]) -> tuple[Point, ...]:
    """Where objects are, as `placed` tells it of each."""
    return tuple(thing.object.box.center for thing in found)
