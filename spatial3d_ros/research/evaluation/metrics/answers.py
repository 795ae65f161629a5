"""Short answers against known ones: exact match and refined exact match (METHODS 5.4, 5.5).

Two families of papers clean ScanQA's predictions differently, and their figures are not strictly
comparable: `leo` (Chat-Scene, LEO) lowers the first letter, drops the final period and cleans the
prediction alone; `raw` (Video-3D-LLM) only drops the final period. SQA3D cleans both sides.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from spatial3d_ros.research.datasets.sqa3d import SituatedQuestion
from spatial3d_ros.research.evaluation.metrics.text import caption_words, text_scores

Norm = Literal["leo", "raw"]

_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty
"""
_WORDS = {str(k): word for k, word in enumerate(_NUMBERS.split())} | {
    "23": "twenty-three", "none": "zero",
    # misspellings of the released annotations
    "letf": "left", "tehre": "there", "rigth": "right", "rght": "right", "behine": "behind",
    "chai": "chair", "wasing": "washing", "waslked": "walked", "backwards": "backward",
    "oclock": "o'clock",
}  # fmt: skip
_WORD = re.compile(r"(?<![\w'-])[\w']+(?![\w'-])")
_ARTICLE = re.compile(r"\b(?:a|an|the) (?=[a-z])")
_DROPPED = re.compile(r"[^a-z0-9,'\s:-]+")


def clean_answer(text: str) -> str:
    """Lower case, trimmed; no articles before a word; numbers to twenty (and 23) as words; known
    misspellings corrected; no punctuation but comma, colon, apostrophe and hyphen.
    """
    kept = _DROPPED.sub("", text.lower().replace("\u2019", "'").replace("\u00e7", "c"))
    kept = _WORD.sub(lambda match: _WORDS.get(match[0], match[0]), " ".join(kept.split()))
    return _ARTICLE.sub("", kept)


def normalised(prediction: str, norm: Norm) -> str:
    """A prediction for ScanQA as the family `norm` compares it."""
    text = prediction.strip()
    text = text[:-1] if text.endswith(".") else text
    return text if norm == "raw" else clean_answer(text[:1].lower() + text[1:])


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether a prediction equals one of the answers."""
    return prediction in answers


def refined_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether a prediction equals an answer, is part of one or contains one, without spaces; an
    empty prediction matches an empty answer only.
    """
    if exact_match(prediction, answers):
        return True
    predicted = "".join(prediction.split())
    known = ["".join(answer.split()) for answer in answers]
    return any(predicted and one and (predicted in one or one in predicted) for one in known)


def scanqa_scores(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], norm: Norm
) -> dict[str, float | int]:
    """EM@1 and refined EM of ScanQA in [0, 1], and the measures of text.py times 100, on words as
    the family splits them.
    """
    predicted = [normalised(one, norm) for one in predictions]
    words = caption_words if norm == "leo" else str.split
    texts = text_scores(
        [words(one) for one in predicted], [[words(a) for a in one] for one in answers]
    )
    return _shares(predicted, answers) | texts


def sqa3d_scores(
    predictions: Sequence[str], questions: Sequence[SituatedQuestion]
) -> dict[str, dict[str, float | int]]:
    """EM and refined EM of SQA3D over all questions and by type, both sides cleaned."""
    groups: dict[str, list[int]] = defaultdict(list)
    for k, question in enumerate(questions):
        groups["overall"].append(k)
        groups[question.type].append(k)
    predicted = [clean_answer(one) for one in predictions]
    known = [[clean_answer(one) for one in question.answers] for question in questions]
    return {
        name: _shares([predicted[k] for k in indices], [known[k] for k in indices])
        for name, indices in groups.items()
    }


def _shares(predicted: Sequence[str], known: Sequence[Sequence[str]]) -> dict[str, float | int]:
    pairs = list(zip(predicted, known, strict=True))
    return {
        "n": len(pairs),
        "em": float(np.mean([exact_match(*pair) for pair in pairs])),
        "em_refined": float(np.mean([refined_match(*pair) for pair in pairs])),
    }
