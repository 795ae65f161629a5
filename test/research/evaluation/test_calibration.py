"""Expected calibration error."""

import pytest

from spatial3d_ros.research.evaluation.metrics.calibration import calibration


def test_a_probability_is_calibrated_and_overconfidence_is_not():
    sure = calibration([0.75] * 4, [True, True, True, False])
    assert sure["ece"] == pytest.approx(0.0) and sure["bins"] == [[0.75, 0.75, 4]]
    boasting = calibration([1.0, 1.0, 0.25, 0.25], [True, False, False, False])
    assert boasting["ece"] == pytest.approx((2 * 0.5 + 2 * 0.25) / 4)
    assert boasting["n"] == 4 and calibration([], [])["ece"] == 0.0
