"""From the scores of the grounding head to ranked objects and a sentence (methods 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import ScoredObject

MASS = 0.4
NO_OBJECTS = "I have seen no objects yet."


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


def meant(scores: Tensor, mass: float = MASS) -> int:
    """How many of the best objects are the answer (1.8, multi-target decoding): none when "nothing"
    wins, else the fewest whose shares among the objects sum to `mass`.

    scores (N + 1,) logits, "nothing" last. A question with one answer gives one, as its share is
    high.
    """
    if int(scores.argmax()) == len(scores) - 1:
        return 0
    shares = scores[:-1].float().softmax(-1).sort(descending=True).values
    return int((shares.cumsum(-1) < mass).sum()) + 1


def best_pair(first: Tensor, second: Tensor) -> tuple[int, int]:
    """The likeliest two different objects for two phrases: scores (N + 1,) each, "nothing" not
    considered.
    """
    joint = first[:-1, None].log_softmax(0) + second[None, :-1].log_softmax(1)
    joint = joint.masked_fill(
        torch.eye(len(joint), dtype=torch.bool, device=joint.device), -torch.inf
    )
    best = int(joint.argmax())
    return best // len(joint), best % len(joint)


def name(thing: SceneObject) -> str:
    """The object in words: "the red chair", "object 7"."""
    words = " ".join(filter(None, (thing.color, thing.label)))
    return f"the {words}" if words else f"object {thing.id}"


def describe(ranked: Sequence[ScoredObject], no_target: bool, query: str, several: int = 1) -> str:
    """The sentence that goes with a grounding; `several` of the ranked objects are meant."""
    if not ranked:
        return NO_OBJECTS
    thing = ranked[0].object
    if no_target:
        return f"I see nothing that fits '{query}'; the nearest miss is {name(thing)}."
    places = [_placed(found.object) for found in ranked[:several]]
    if len(places) > 1:
        return f"{len(places)} objects: {'; '.join(places)}"
    return places[0].capitalize()


def _placed(thing: SceneObject) -> str:
    x, y, z = thing.box.center
    return f"{name(thing)} at ({x:.2f}, {y:.2f}, {z:.2f}) m"
