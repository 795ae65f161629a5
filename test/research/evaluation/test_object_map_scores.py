"""Scores of an object map: what is found, named, duplicated, and keeps its id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.evaluation.metrics.object_map import (
    IdentityCount,
    MapScores,
    same_noun,
)
from spatial3d_ros.scene.objects import SceneObject

MUG = Box3D((0, 0, 0.8), (0.1, 0.1, 0.1))
TABLE = Box3D((0, 0, 0.35), (1.2, 0.8, 0.7))
GHOST = Box3D((5, 0, 0.35), (1.2, 0.8, 0.7))


def known(number: int, box: Box3D) -> SceneObject:
    return SceneObject(number, box, (0, 0, 0), 0.5, 2, 0, np.zeros((1, 3), np.float32))


def test_a_box_counts_by_its_best_overlap_and_its_label():
    turned = replace(TABLE, yaw=0.1)
    found = [(turned, "coffee table"), (MUG, "bottle"), (GHOST, "sofa")]
    scores = MapScores.of(found, [(MUG, "mug"), (TABLE, "table")])
    assert scores.named == (False, True) and scores.boxes == 3
    assert scores.ious[0] == pytest.approx(1) and 0.7 < scores.ious[1] < 1
    data = (scores + MapScores.of([], [(GHOST, "sofa")])).json()
    assert data["boxes_per_object"] == 1.0 and data["found"] == 2 and data["named"] == 1
    assert data["recall@0.25"] == pytest.approx(2 / 3)
    assert data["recall_by_size"]["under 0.15 m"] == {"n": 1, "recall@0.25": 1.0}
    assert data["recall_by_size"]["over 1 m"] == {"n": 2, "recall@0.25": 0.5}
    assert data["kept_ids"] is None


def test_an_id_is_kept_if_it_still_overlaps_the_same_object():
    count = IdentityCount([MUG, TABLE])
    count.add([known(1, MUG), known(2, TABLE)])
    assert (count.kept, count.followed) == (0, 0)
    count.add([known(3, MUG), known(2, TABLE)])  # the mug has a new id
    assert (count.kept, count.followed) == (1, 2)
    count.add([known(3, GHOST)])  # the id now names something else, and the table is gone
    assert (count.kept, count.followed) == (1, 4)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("office chair", "chair", True),
        ("couch", "sofa", True),
        ("potted plant", "indoor plant", True),
        ("plant stand", "plant", False),
        ("trash can", "bin", True),
        ("", "chair", False),
        ("zorbik", "zorbiks", True),
    ],
)
def test_labels_agree_by_head_noun_and_category(one, other, same):
    assert same_noun(one, other) is same
