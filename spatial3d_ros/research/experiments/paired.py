"""Paired differences of two arms of an experiment, their confidence interval, and the verdict.

Both arms answer the same questions with the same seeds. The mean difference varies because networks
of other seeds would differ, and because other rooms would be asked about. With d(s, r) the
difference of seed s in room r,

    variance = var over s of mean_r d / S  +  var over r of mean_s d / R

which counts what varies by seed and room together twice, so that the interval is rather too wide.
The 95 % interval is Student's, with Welch and Satterthwaite's degrees of freedom. Rooms, not
questions, are the units: questions of one room have objects in common. With one seed the first term
is unknown and left out: such an interval is about these weights alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t

LEVEL = 0.95
Verdict = Literal["holds", "does not hold here", "cannot be told"]


@dataclass(frozen=True)
class Difference:
    """Mean of arm minus reference, its standard error and the ends of the 95 % interval, all in
    percentage points; the number of questions of a seed, and of seeds.
    """

    mean: float
    error: float
    low: float
    high: float
    questions: int
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def paired_difference(
    arm: Sequence[np.ndarray], reference: Sequence[np.ndarray], rooms: np.ndarray
) -> Difference | None:
    """Of right answers (questions,) bool by seed, in the same order for both; rooms (questions,)
    is the room of each question. None without seeds or with fewer than two rooms.
    """
    if not arm or not len(rooms):
        return None
    gaps = np.stack([a.astype(float) - b for a, b in zip(arm, reference, strict=True)])
    _, index = np.unique(rooms, return_inverse=True)
    count = np.bincount(index)
    if len(count) < 2:
        return None
    # The sum of a room's differences times R / Q has the mean over questions as its mean.
    by_room = np.bincount(index, gaps.mean(0)) * len(count) / len(rooms)
    parts = [(by_room.var(ddof=1) / len(count), len(count) - 1)]
    if len(gaps) > 1:
        parts.append((gaps.mean(1).var(ddof=1) / len(gaps), len(gaps) - 1))
    variance = sum(part for part, _ in parts)
    weighed = sum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / weighed if weighed else len(count) - 1
    mean, error = 100 * float(gaps.mean()), 100 * float(variance) ** 0.5
    reach = float(t.ppf((1 + LEVEL) / 2, degrees)) * error
    return Difference(mean, error, mean - reach, mean + reach, len(rooms), len(gaps))


def verdict(found: Difference | None, bound: float, sign: Literal["below", "above"]) -> Verdict:
    """Whether the difference is `below` (or `above`) a bound in percentage points.

    It holds if the whole interval is on that side, does not hold here if the whole interval is on
    the other side, and cannot be told otherwise.
    """
    if found is None:
        return "cannot be told"
    low, high = (found.low, found.high) if sign == "above" else (-found.high, -found.low)
    bound = bound if sign == "above" else -bound
    if low >= bound:
        return "holds"
    return "does not hold here" if high < bound else "cannot be told"
