"""Words of a question that are words of a detector: then it is known what they mean.

A network that was trained on a few nouns cannot know what a "zorbik" is, but whoever put up a
detector for zorbiks does. So where the thing asked for is called by the very label of some objects,
the network's shares are mixed with its shares among those objects alone. Which of several zorbiks
is meant stays the network's to say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial3d_ros.scene.objects import SceneObject

# Behind the first of these words stands what the thing is near to, not what it is.
RELATIONS = re.compile(
    r"\b(?:on|in|inside|under|underneath|below|beneath|above|over|next|near|nearest|nearer|close"
    r"|closest|closer|farthest|furthest|beside|by|at|behind|between|among|opposite|against|to|from"
    r"|left|right|front|with|without|that|which|where|who|standing|lying|seen|facing|not|but)\b"
)
# "Where is", "what is on": words that come before the thing asked for.
_OPENING = re.compile(r"^(?:\W|where|which|what|how|find|show|locate|is|are|there|the|me|a|an)+\b")


def words_of(label: str) -> str:
    """A label or a question as they are compared: one form of letters, small, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def mentions(text: str, label: str) -> bool:
    """Whether the words of a label stand in a text, in singular or plural."""
    text, label = words_of(text), words_of(label)
    if not label:
        return False
    if not any("a" <= letter <= "z" for letter in label):
        return label in text  # scripts that may have no spaces between words
    return re.search(rf"(?<!\w){re.escape(label)}(?:e?s)?(?!\w)", text) is not None


def mentions_detector_label(text: str, objects: Sequence[SceneObject]) -> bool:
    """Whether a text has the label of any object that a detector labelled."""
    return any(mentions(text, thing.label) for thing in objects if thing.label_from_detector)


def objects_with_label(phrase: str, objects: Sequence[SceneObject]) -> list[int]:
    """Places of the objects that a detector calls what the phrase asks for.

    Of several labels in it the longest counts: "fire extinguisher", not "fire".
    """
    head = _head(phrase)
    labels = {words_of(thing.label) for thing in objects if thing.label_from_detector}
    best = max((label for label in labels if mentions(head, label)), key=len, default="")
    return [
        place
        for place, thing in enumerate(objects)
        if best and thing.label_from_detector and words_of(thing.label) == best
    ]


def apply_label_prior(scores: Tensor, phrase: str, objects: Sequence[SceneObject]) -> Tensor:
    """Scores (N + 1,) of a phrase, "nothing" last, as logits of the mixed shares; the same scores
    where no detector speaks of what is asked for.

    A detector that is sure outweighs the network; one that is not has still half the say.
    """
    places = objects_with_label(phrase, objects)
    if not places:
        return scores
    shares = scores.float().softmax(-1)
    among = torch.full_like(shares, -torch.inf)
    among[places] = scores.float()[places]
    sure = (1 + max(objects[place].label_score for place in places)) / 2
    return torch.log((1 - sure) * shares + sure * among.softmax(-1) + 1e-12)


def _head(phrase: str) -> str:
    """The part of a phrase that names the thing asked for: "red mug" of "the red mug on the table",
    nothing of "what is on the table".
    """
    text = words_of(phrase)
    text = text[_OPENING.match(text).end() :] if _OPENING.match(text) else text
    found = RELATIONS.search(text)
    return text[: found.start()] if found else text
