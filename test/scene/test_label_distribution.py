"""Distributions over labels: what views and sources say together."""

from __future__ import annotations

import pytest

from spatial3d_ros.scene.label_distribution import KEPT, fuse, same_kind


def test_one_observation_stays_as_it_is():
    assert dict(fuse([((("sofa", 0.7), ("bed", 0.2)), 1.0)])) == pytest.approx(
        {"sofa": 0.7, "bed": 0.2}
    )
    assert fuse([]) == () and fuse([((), 1.0), ((("sofa", 0.9),), 0.0)]) == ()


def test_agreement_is_surer_and_a_contradiction_is_shared():
    sofa, bed = (("sofa", 0.6), ("bed", 0.3)), (("bed", 0.6), ("sofa", 0.3))
    both = dict(fuse([(sofa, 1.0), (sofa, 1.0)]))
    assert both["sofa"] > 0.7 and both["bed"] < 0.2
    assert dict(fuse([(sofa, 1.0), (bed, 1.0)])) == pytest.approx({"sofa": 0.45, "bed": 0.45})
    assert fuse([(sofa, 0.2), (bed, 1.0)])[0][0] == "bed"


def test_synonyms_and_modifiers_name_one_kind():
    labels = fuse(
        [((("couch", 0.5),), 1.0), ((("sofa", 0.6),), 1.0), ((("black leather sofa", 0.4),), 1.0)]
    )
    assert [label for label, _ in labels] == ["sofa"]
    machines = fuse([((("washing machine", 0.6), ("coffee machine", 0.4)), 1.0)])
    assert len(machines) == 2
    assert same_kind("red book", "book") and not same_kind("red book", "red pen")
    assert same_kind("couch", "sofa") and not same_kind("book", "bookshelf")


def test_at_most_four_labels_and_no_more_than_certainty():
    labels = fuse([(tuple((f"thing {k}", 1 / 3) for k in "abc"), 1.0), ((("x", 1.0),), 9.0)] * 3)
    assert len(labels) <= KEPT and labels[0][0] == "x"
    assert sum(share for _, share in labels) <= 1 + 1e-9
