"""Objects as answers name them, and the number of targets of the grounding head (METHODS 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import Point, ScoredObject, format_point

TARGET_MASS = 0.4  # probability that the targets of a multi-target answer sum to
TIE_RATIO = 0.7  # an object with this much of the best probability is a tie
_SELF = {"me", "you", "us", "here", "i", "myself", "yourself", "robot", "camera"}


def is_self(phrase: str) -> bool:
    """Whether a phrase refers to the robot, or to a person who speaks through it."""
    return phrase.lower().strip(" ?.!").removeprefix("the ") in _SELF


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
