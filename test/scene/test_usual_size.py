"""Sizes tell what a detector took for what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.object_map import ObjectMap
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.usual_size import (
    fitting,
    fitting_detection,
    size_fit,
    with_fitting_labels,
)

SOFA = (1.8, 0.9, 0.8)


@pytest.mark.parametrize(
    ("label", "size"),
    [
        ("couch", SOFA), ("chair", (0.5, 0.55, 0.9)), ("floor lamp", (0.4, 0.4, 1.5)),
        ("lamp", (0.4, 0.4, 1.5)), ("zorbik", (9.0, 9.0, 9.0)), ("book", (0.09, 0.11, 0.13)),
        ("tv", (0.2, 2.5, 1.2)), ("sofa", (0.3, 1.4, 0.5)), ("picture", (0.01, 0.6, 0.5)),
        ("ball", (0.03, 0.08, 0.03)),
    ],
)  # fmt: skip
def test_usual_sizes_fit_and_so_do_parts(label: str, size: tuple[float, ...]) -> None:
    assert size_fit(label, size) > 0.05
    assert size_fit(label, size) == pytest.approx(size_fit(label, size[::-1]))


@pytest.mark.parametrize(
    ("label", "size"),
    [("laptop", (1.5, 0.3, 1.8)), ("cup", (0.32, 0.25, 0.31)), ("mug", (3.8, 2.5, 2.8)),
     ("chair", (2.1, 2.4, 1.0))],
)  # fmt: skip
def test_other_sizes_do_not(label: str, size: tuple[float, ...]) -> None:
    assert size_fit(label, size) < 0.05


def proposal(label: str, size: tuple[float, float, float], *others: tuple[str, float]) -> Proposal:
    labels = ((label, 0.6), *others) if label else others
    points = np.zeros((20, 3), np.float32)
    box = Box3D((0.0, 0.0, 0.5), size)
    return Proposal(box, points, (0, 0, 0), 2, 0.5, label, 0.6 * bool(label), labels)


def test_the_label_that_fits_is_first_and_the_whole_share_stays() -> None:
    found = with_fitting_labels(proposal("laptop", SOFA, ("couch", 0.2), ("zorbik", 0.1)))
    assert found.label == "couch" and found.labels[1][0] == "zorbik"
    assert sum(share for _, share in found.labels) == pytest.approx(0.9)
    assert found.label_score == found.labels[0][1]
    none = with_fitting_labels(proposal("laptop", SOFA))
    assert (none.label, none.label_score, none.labels) == ("", 0.0, ())
    kept = with_fitting_labels(proposal("", SOFA, ("couch", 0.4)))
    assert kept.label == "" and kept.labels == (("couch", pytest.approx(0.4)),)
    assert with_fitting_labels(proposal("", SOFA)).labels == ()


def test_detections_of_another_size_never_enter_the_map() -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 3)).astype(np.float32) * SOFA
    one = Detection3D(Box3D((0.0, 0.0, 0.0), SOFA), "laptop", 0.9, 1, points)
    assert fitting_detection(one) is None
    both = fitting_detection(replace(one, others=(("couch", 0.1),)))
    assert both is not None and (both.label, both.others) == ("couch", ())
    assert both.score == pytest.approx(1.0) and both.weight == pytest.approx(1.0, abs=0.05)
    bench = fitting_detection(replace(one, label="bench", weight=0.8))
    assert bench is not None and bench.score == pytest.approx(0.9) and bench.weight < 0.2
    unnamed = replace(one, label="")
    assert fitting_detection(unnamed) is unnamed
    scene = ObjectMap()
    assert not scene.add_detections([one]) and scene.add_detections([both])
    assert fitting((("laptop", 0.5),), SOFA) == ()
