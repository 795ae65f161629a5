"""Detector labels: which objects have the label of a phrase, and the prior on the scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.label_prior import (
    apply_label_prior,
    mentions,
    mentions_detector_label,
    objects_with_label,
)


def labelled_objects(*labels, score=0.8):
    """Objects with these labels; those in capitals are a detector's."""
    return [
        SceneObject(
            k, Box3D((k, 0, 0), (1, 1, 1)), (0, 0, 0), 0.5, 1, 0, np.zeros((1, 3)), label.lower(),
            label_score=score if label.isupper() or not label.isascii() else 0.0,
        )
        for k, label in enumerate(labels)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("phrase", "indices"),
    [
        ("the zorbik", [0, 2]),
        ("where are the Zorbiks?", [0, 2]),
        ("the red zorbik next to the chair", [0, 2]),
        ("the chair next to the zorbik", []),
        ("the table under the zorbik", []),
        ("what is next to the zorbik", []),
        ("the zorbikon", []),
        ("the fire extinguisher", [4]),
        ("the fire", [5]),
        ("どこに赤い箱がありますか", [6]),
    ],
)
def test_objects_with_the_label_of_a_phrase(phrase, indices):
    found = objects_with_label(
        phrase,
        labelled_objects(
            "ZORBIK", "chair", "ZORBIK", "table", "FIRE EXTINGUISHER", "FIRE", "赤い箱"
        ),
    )
    assert found == indices


def test_labels_of_the_network_are_no_prior():
    objects = labelled_objects("chair", "table")
    scores = torch.tensor([1.0, 2.0, 0.5])
    assert apply_label_prior(scores, "the chair", objects) is scores
    assert not mentions_detector_label("the chair", objects)


def test_the_label_outweighs_the_scores_and_the_scores_choose_among_equal_labels():
    objects = labelled_objects("ZORBIK", "chair", "ZORBIK")
    scores = torch.tensor([-3.0, 5.0, 1.0, 6.0])
    mixed = apply_label_prior(scores, "the zorbik", objects)
    assert int(mixed.argmax()) == 2
    probabilities = mixed.softmax(-1)
    assert float(probabilities[[0, 2]].sum()) == pytest.approx(0.9, abs=0.02)
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_label_of_low_score_has_less_weight():
    sure, doubtful = (
        apply_label_prior(
            torch.tensor([0.0, 9.0, 0.0]),
            "the zorbik",
            labelled_objects("ZORBIK", "chair", score=s),
        )
        for s in (1.0, 0.2)
    )
    assert sure.softmax(-1)[0] > doubtful.softmax(-1)[0] > 0.5


@pytest.mark.parametrize("label", ["(", "a.c", "", "[x", "e\u0301clair"])
def test_labels_are_words_never_patterns(label):
    assert mentions("where is abc", label) is False
    assert not label or mentions(f"the {label} there", label)
