"""Whether a confidence is a probability: expected calibration error and reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 10


def calibration(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, object]:
    """Expected calibration error of (n,) confidences, 0 .. 1, and for each of BINS bins with
    answers [mean confidence, share that is right, answers]; Guo et al., 2017.
    """
    scores, hits = np.asarray(confidences, float), np.asarray(right, float)
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    diagram = [
        [float(scores[bins == k].mean()), float(hits[bins == k].mean()), int((bins == k).sum())]
        for k in range(BINS)
        if (bins == k).any()
    ]
    error = sum(n * abs(score - share) for score, share, n in diagram) / max(len(scores), 1)
    return {"n": len(scores), "ece": float(error), "bins": diagram}
