"""The best cut of a merge tree and the probabilities of its regions, against all cuts listed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spatial3d_ros.scene.region_choice import IMPOSSIBLE, best_cut, distribution

# Two trees: ((0 1) 2) = 6 over 5 = (0 1), and (3 4) = 7.
PARTS = [(), (), (), (), (), (0, 1), (5, 2), (3, 4)]
SEGMENTS = [{0}, {1}, {2}, {3}, {4}, {0, 1}, {0, 1, 2}, {3, 4}]


def cuts() -> list[tuple[int, ...]]:
    """Every set of regions without common segments."""
    return [
        chosen
        for count in range(len(PARTS) + 1)
        for chosen in itertools.combinations(range(len(PARTS)), count)
        if all(not SEGMENTS[a] & SEGMENTS[b] for a, b in itertools.combinations(chosen, 2))
    ]


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_and_best_cut_agree_with_all_cuts_listed(seed):
    logits = np.random.default_rng(seed).normal(0, 2, len(PARTS))
    logits[2] = IMPOSSIBLE
    weights = {cut: np.exp(sum(logits[k] for k in cut)) for cut in cuts()}
    total = sum(weights.values())
    found = distribution(PARTS, logits)
    assert found.log_sum == pytest.approx(np.log(total))
    for k in range(len(PARTS)):
        expected = sum(w for cut, w in weights.items() if k in cut) / total
        assert found.probability[k] == pytest.approx(expected, abs=1e-12)
    assert sorted(best_cut(PARTS, logits)) == list(max(weights, key=weights.__getitem__))


def test_a_segment_that_is_no_background_is_in_a_region():
    background = np.zeros(len(PARTS))
    background[0] = IMPOSSIBLE
    found = distribution(PARTS, np.full(len(PARTS), -3.0), background)
    assert found.probability[[0, 5, 6]].sum() == pytest.approx(1)


def test_no_region_above_nought_gives_an_empty_cut():
    assert best_cut(PARTS, np.full(len(PARTS), -1.0)) == []
    assert best_cut([], np.empty(0)) == []
