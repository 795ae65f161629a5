"""Distances in free-form answers against true metres (METHODS 5.8)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_NAMES = {
    1.0: "m meter meters metre metres",
    0.01: "cm centimeter centimeters centimetre centimetres",
    0.001: "mm millimeter millimeters millimetre millimetres",
    0.3048: "ft foot feet",
    0.0254: "in inch inches",
}
METRES = {name: metres for metres, names in _NAMES.items() for name in names.split()}
MRA_LIMITS = np.arange(5, 55, 5) / 100  # 1 - theta
BUCKETS = ("under 1 m", "1 to 3 m", "over 3 m")
_LENGTH = re.compile(rf"(?<![\w.,-])(\d+(?:\.\d+)?|\.\d+)\s*({'|'.join(METRES)})(?!\w)")


def parse_metres(text: str) -> float | None:
    """The first number with a unit of length in a text, in metres; None without one."""
    match = _LENGTH.search(text.lower())
    if match is None:
        return None
    return float(match[1]) * METRES[match[2]]


def distance_scores(
    answers: Sequence[float | None], truth: Sequence[float]
) -> dict[str, dict[str, float | int]]:
    """Scores over all questions and by true distance; None: no distance could be parsed.

    An answer without a distance is wrong in every share and left out of the mean errors. Relative
    errors are divided by the truth, in abs_rel by at least 0.1 m; a true 0 m is right in a relative
    measure only if the answer is 0 m.
    """
    predicted = np.array([np.nan if one is None else one for one in answers], dtype=float)
    known = np.asarray(truth, dtype=float)
    scores = {"overall": _scores(predicted, known)}
    bucket = np.select([known < 1, known <= 3], [0, 1], 2)
    for k in np.unique(bucket):
        scores[BUCKETS[k]] = _scores(predicted[bucket == k], known[bucket == k])
    return scores


def _scores(predicted: np.ndarray, known: np.ndarray) -> dict[str, float | int]:
    error = np.abs(predicted - known)
    read = np.isfinite(error)
    relative = np.divide(error, known, out=np.where(error == 0, 0.0, np.inf), where=known > 0)
    scores: dict[str, float | int] = {
        "n": len(known),
        "parse_rate": float(read.mean()),
        "acc@0.1m": float((error <= 0.1).mean()),
        "acc@0.25m": float((error <= 0.25).mean()),
        "acc@10%": float((relative <= 0.1).mean()),
        "mra": float((relative[:, None] < MRA_LIMITS).mean()),
    }
    if read.any():
        error, known = error[read], known[read]
        scores |= {
            "mae": float(error.mean()),
            "rmse": float(np.sqrt((error**2).mean())),
            "abs_rel": float((error / np.maximum(known, 0.1)).mean()),
        }
    return scores
