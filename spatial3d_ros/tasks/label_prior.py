"""A prior on the grounding scores from the labels of a detector.

The network cannot know a noun that it was not trained on, but a detector may label objects with it.
If the head noun of a phrase is the label of some objects, the probabilities of the network are
mixed with its probabilities restricted to these objects. Which of several objects with that label
is the target stays the decision of the network.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial3d_ros.scene.objects import SceneObject

# The first of these words ends the head noun phrase; an anchor or a relative clause follows.
RELATIONS = re.compile(
    r"\b(?:on|in|inside|under|underneath|below|beneath|above|over|next|near|nearest|nearer|close"
    r"|closest|closer|farthest|furthest|beside|by|at|behind|between|among|opposite|against|to|from"
    r"|left|right|front|with|without|that|which|where|who|standing|lying|seen|facing|not|but)\b"
)
# "Where is", "what is on": words before the head noun phrase.
_QUESTION_WORDS = re.compile(
    r"^(?:\W|where|which|what|how|find|show|locate|is|are|there|the|me|a|an)+\b"
)


def normalize(text: str) -> str:
    """A label or a question in the form that is compared: NFKC, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def mentions(text: str, label: str) -> bool:
    """Whether a text contains a label, in singular or plural."""
    text, label = normalize(text), normalize(label)
    if not label:
        return False
    if not any("a" <= letter <= "z" for letter in label):
        return label in text  # scripts that may have no spaces between words
    return re.search(rf"(?<!\w){re.escape(label)}(?:e?s)?(?!\w)", text) is not None


def mentions_detector_label(text: str, objects: Sequence[SceneObject]) -> bool:
    """Whether a text contains the label of any object that a detector labelled."""
    return any(mentions(text, known.label) for known in objects if known.label_from_detector)


def objects_with_label(phrase: str, objects: Sequence[SceneObject]) -> list[int]:
    """Indices of the objects whose detector label is the head noun of the phrase.

    The longest matching label counts: "fire extinguisher", not "fire".
    """
    head = _head(phrase)
    labels = {normalize(known.label) for known in objects if known.label_from_detector}
    best = max((label for label in labels if mentions(head, label)), key=len, default="")
    return [
        index
        for index, known in enumerate(objects)
        if best and known.label_from_detector and normalize(known.label) == best
    ]


def apply_label_prior(scores: Tensor, phrase: str, objects: Sequence[SceneObject]) -> Tensor:
    """Logits (N + 1,) of a phrase, "no target" last, mixed with those of the labelled objects; the
    same scores if no detector label is the head noun.

    The weight of the labelled objects is (1 + label_score) / 2: at least one half.
    """
    labelled = objects_with_label(phrase, objects)
    if not labelled:
        return scores
    logits = scores.float()
    restricted = torch.full_like(logits, -torch.inf)
    restricted[labelled] = logits[labelled]
    weight = (1 + max(objects[index].label_score for index in labelled)) / 2
    mixed = (1 - weight) * logits.softmax(-1) + weight * restricted.softmax(-1)
    return torch.log(mixed + 1e-12)


def _head(phrase: str) -> str:
    """The head noun phrase: "red mug" of "the red mug on the table"; "" of "what is on it"."""
    text = normalize(phrase)
    start = _QUESTION_WORDS.match(text)
    text = text[start.end() :] if start else text
    end = RELATIONS.search(text)
    return text[: end.start()] if end else text
