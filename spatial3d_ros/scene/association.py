"""One-to-one assignment of observations to known objects."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def assign(affinity: np.ndarray, min_affinity: float) -> list[tuple[int, int]]:
    """The pairs (row, column) that maximise the sum of an affinity matrix (N, M), each row and
    column at most once, without pairs below `min_affinity`.
    """
    if not affinity.size:
        return []
    rows, columns = linear_sum_assignment(-affinity)
    good = affinity[rows, columns] >= min_affinity
    return list(zip(rows[good].tolist(), columns[good].tolist(), strict=True))
