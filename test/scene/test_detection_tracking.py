"""Detection tracking: one track for each object, labels by vote, and fusion with proposals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D, iou
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.detection_fusion import fuse_detections, with_measured_points
from spatial3d_ros.scene.detection_tracking import (
    Detection3D,
    DetectionTracker,
)
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)


def cloud(box, n=200, seed=0):
    return (np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 3)) * box.size + box.center).astype(
        np.float32
    )


def detection(center, label="cup", score=0.8, size=(0.3, 0.3, 0.3), stamp=1, surface=True):
    box = Box3D(center, size)
    points = cloud(box) if surface else np.empty((0, 3), np.float32)
    return Detection3D(box, label, score, stamp, points, (200.0, 0.0, 0.0))


def wall(distance, stamp):
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), distance, np.float32)
    return Frame(stamp, rgb, depth, CAMERA, look_at((0, 0, 0), (1, 0, 0)))


def test_track_label_is_the_one_with_most_votes():
    tracks = DetectionTracker()
    assert tracks.add([detection((2, 0, 0)), detection((2, 3, 0), "lamp")])
    for k, word in enumerate(("cup", "vase", "cup", "cup")):
        tracks.add([detection((2 + 0.01 * k, 0, 0), word, stamp=2 + k)])
    cup, lamp = sorted(tracks.proposals(0.0), key=lambda p: p.box.center[1])
    assert (cup.label, lamp.label) == ("cup", "lamp")
    assert cup.views == 5 and 0.5 < cup.label_score < 0.8
    assert [label for label, _ in cup.labels] == ["cup", "vase"] and cup.labels[1][1] < 0.1


def test_add_reports_moved_boxes_and_new_labels_only():
    tracks = DetectionTracker()
    assert tracks.add([detection((2, 0, 0))])
    assert not tracks.add([detection((2.01, 0, 0), stamp=2)])
    assert tracks.add([detection((2.2, 0, 0), stamp=3)])
    assert [tracks.add([detection((2.2, 0, 0), "mug", 0.9, stamp=4 + k)]) for k in range(4)].count(
        True
    )
    assert tracks.proposals(0.0)[0].label == "mug"


def test_track_counts_after_min_hits():
    tracks = DetectionTracker(min_hits=2)
    assert not tracks.add([detection((2, 0, 0))])
    assert tracks.proposals(0.0) == []
    assert tracks.add([detection((2, 0, 0), stamp=2)])
    assert len(tracks.proposals(0.0)) == 1


def test_two_labels_for_one_box_are_one_track():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), "vase", 0.5), detection((2.01, 0, 0), "cup", 0.7)])
    (track,) = tracks.proposals(0.0)
    assert track.label == "cup" and 0.4 < track.label_score < 0.6
    assert [label for label, _ in track.labels] == ["cup", "vase"]


def test_a_small_thing_inside_the_box_of_another_is_no_view_of_it():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), "bottle", size=(0.04, 0.04, 0.12))])
    tracks.add([detection((2, 0.05, 0), "laptop", size=(0.5, 0.5, 0.3), stamp=2)])
    tracks.add([detection((2, 0, 0), "bottle", size=(0.05, 0.04, 0.12), stamp=3)])
    found = {p.label: p for p in tracks.proposals(0.0)}
    assert set(found) == {"bottle", "laptop"} and found["bottle"].views == 2
    assert max(found["bottle"].box.size) < 0.2


def test_partial_views_of_one_object_are_one_track():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), "sofa", size=(2.0, 0.8, 0.8))])
    tracks.add([detection((1.7, 0.1, 0), "couch", size=(0.6, 0.5, 0.4), stamp=2)])
    assert len(tracks) == 1


def test_moved_object_drops_its_old_points():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), size=(0.4, 0.4, 0.4))])
    tracks.add([detection((2.3, 0, 0), size=(0.4, 0.4, 0.4), stamp=2)])
    (both,) = tracks.proposals(0.0)
    assert both.box.size[0] > 0.6  # two detections of one object
    tracks.add([detection((2.9, 0, 0), size=(0.4, 0.4, 0.4), stamp=3)])
    newest = max(tracks.proposals(0.0), key=lambda p: p.box.center[0])
    assert newest.box.size[0] < 0.45


def test_tracks_are_bounded_and_removed_when_their_volume_is_free():
    tracks = DetectionTracker(max_tracks=5)
    tracks.add([detection((2, k, 9), stamp=k + 1) for k in range(9)])
    assert len(tracks) == 5
    tracks.clear()
    tracks.add([detection((2, 0, 0), stamp=10)])
    tracks.remove_disappeared([wall(4.0, 9)])
    assert len(tracks) == 1  # that view is older
    tracks.remove_disappeared([wall(1.0, 11)])
    assert len(tracks) == 1  # occluded
    tracks.remove_disappeared([wall(4.0, 11), wall(4.0, 12)])
    assert len(tracks) == 0


def test_a_track_that_most_views_of_its_place_contradict_does_not_count():
    tracks = DetectionTracker()
    second = 10**9
    face = replace(detection((2, 0, 0)), points=cloud(Box3D((2, 0, 0), (0.0, 0.3, 0.3))))
    tracks.add([face])
    for k in range(1, 6):
        tracks.add([detection((9, 9, 9), "lamp", stamp=k * second)])
    unknown = [wall(2.0, k * second + second // 2) for k in range(1, 6)]  # not recognised
    tracks.count_unseen([*unknown, wall(1.0, second), wall(4.0, 2 * second)])  # hidden, free
    assert {p.label for p in tracks.proposals(0.0)} == {"cup", "lamp"}
    tracks.count_unseen([wall(2.0, k * second) for k in range(1, 6)])
    assert {p.label for p in tracks.proposals(0.0)} == {"lamp"}
    tracks.add([replace(face, stamp_ns=6 * second)])
    assert {p.label for p in tracks.proposals(0.0)} == {"cup", "lamp"}


def built_in(center, size=(0.3, 0.3, 0.3), score=0.6):
    box = Box3D(center, size)
    return Proposal(box, cloud(box, seed=1), (10.0, 10.0, 10.0), 3, score)


def test_track_labels_overlapping_proposal_or_becomes_one():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), size=(0.28, 0.3, 0.3)), detection((2, 3, 0), "lamp")])
    found = fuse_detections([built_in((2, 0, 0)), built_in((5, 5, 0))], tracks.proposals(0.0))
    assert [p.label for p in found] == ["cup", "", "lamp"]
    assert found[0].box == built_in((2, 0, 0)).box and found[0].label_score == pytest.approx(0.8)
    assert fuse_detections([], []) == []


def test_tighter_geometry_of_a_detector_replaces_the_built_in():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), size=(0.2, 0.25, 0.3))])
    (proposal,) = tracks.proposals(0.0)
    merged = built_in((2.03, 0.03, 0), (0.32, 0.31, 0.32))
    merged = replace(merged, points=cloud(Box3D((2, 0, 0), (0.2, 0.25, 0.3)), seed=2))
    (fused,) = fuse_detections([merged], [proposal])
    assert fused.box == proposal.box and fused.rgb == proposal.rgb
    assert fused.points is proposal.points and fused.label == "cup" and fused.views == 3
    (fused,) = fuse_detections([built_in((2, 0, 0), (0.2, 0.25, 0.31))], [proposal])
    assert fused.box != proposal.box and fused.label == "cup"


def test_unlabelled_parts_of_a_labelled_surface_are_dropped():
    table = Box3D((2, 0, 0.7), (1.0, 1.0, 0.02))
    top = Proposal(table, cloud(table, 2000), (90.0, 60.0, 30.0), 3, 0.9, "table", 0.9)
    corner = Box3D((2.3, 0.3, 0.7), (0.3, 0.3, 0.02))
    part = Proposal(corner, cloud(corner), (90.0, 60.0, 30.0), 3, 0.4)
    mug = built_in((2, 0, 0.8), (0.1, 0.1, 0.18))  # stands on it
    chair = built_in((2, 0, 0.35), (0.4, 0.4, 0.5))  # stands under it
    named = replace(part, label="mat", label_score=0.5)
    assert fuse_detections([part, mug, chair], [top]) == [mug, chair, top]
    assert named in fuse_detections([named], [top])


@pytest.mark.parametrize(("owner", "kept"), [("dining table", True), ("sofa", False)])
def test_what_stands_in_the_box_of_a_detected_table_is_no_part_of_it(owner, kept):
    whole = Box3D((2, 0, 0.4), (1.4, 1.2, 0.8))
    tissues = Box3D((2.2, 0.2, 0.7), (0.14, 0.14, 0.18))
    thing = Proposal(tissues, cloud(tissues), (90.0, 60.0, 30.0), 3, 0.3)
    points = np.concatenate([cloud(whole, 1600), cloud(tissues)])  # the mask holds both
    detected = Proposal(whole, points, (90.0, 60.0, 30.0), 1, 0.5, owner, 0.5)
    assert (thing in fuse_detections([thing], [detected])) == kept


def test_synonyms_label_one_object():
    whole = Box3D((2, 0, 0.4), (0.9, 2.0, 0.8))
    sofa = Proposal(whole, cloud(whole, 3000), (9.0, 9.0, 9.0), 3, 0.9, "sofa", 0.9)
    half = Box3D((2, -0.4, 0.4), (0.9, 1.2, 0.8))
    couch = Proposal(half, cloud(half, 2000), (9.0, 9.0, 9.0), 3, 0.9, "couch", 0.9)
    assert fuse_detections([], [sofa, couch]) == [sofa]
    chair = replace(couch, label="chair")
    assert fuse_detections([], [sofa, chair]) == [sofa, chair]


def test_box_of_a_3d_detector_is_kept():
    tracks = DetectionTracker()
    own = Box3D((2, 0, 0), (0.36, 0.3, 0.3))
    tracks.add([Detection3D(own, "cup", 0.9, 1)])
    (track,) = fuse_detections([built_in((2, 0, 0))], tracks.proposals(0.0))
    assert iou(track.box, own) == pytest.approx(1.0) and len(track.points)


def test_boxes_without_points_get_measured_points():
    box = Proposal(Box3D((2, 0, 0), (0.4, 0.4, 0.4)), np.empty((0, 3), np.float32), (0, 0, 0), 1, 1)
    seen = with_measured_points(box, [wall(2.0, 1)])
    assert np.allclose(seen.points[:, 0], 2.0) and box.box.contains(seen.points).all()
    unseen = with_measured_points(box, [wall(1.0, 1)])
    assert len(unseen.points) == 125 and box.box.contains(unseen.points).all()


def test_boxes_are_axis_aligned_along_the_walls():
    heading = 0.5
    tracks = DetectionTracker()
    c, s = np.cos(heading), np.sin(heading)
    box = Box3D((c * 2, s * 2, 0), (0.8, 0.2, 0.3), heading)
    points = cloud(Box3D((0, 0, 0), (0.8, 0.2, 0.3)), 400)
    rotated = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32) + np.float32(
        box.center
    )
    tracks.add(
        [Detection3D(box, "bench", 0.9, 1), Detection3D(Box3D((9, 9, 0), (1, 1, 1)), "x", 0.5, 1)]
    )
    (bench, _) = sorted(tracks.proposals(heading), key=lambda p: p.label)
    assert bench.box.center == pytest.approx((2, 0, 0), abs=1e-6)
    assert bench.box.size == pytest.approx((0.8, 0.2, 0.3), abs=1e-6)
    tracks.clear()
    tracks.add([Detection3D(Box3D.from_points(rotated), "bench", 0.9, 1, rotated)])
    assert tracks.proposals(heading)[0].box.size == pytest.approx((0.8, 0.2, 0.3), abs=0.05)


@pytest.mark.parametrize(("score", "count"), [(0.9, 2), (0.4, 1)])
def test_a_detection_removes_only_parts_less_sure_than_itself(score, count):
    bed = Proposal(Box3D((0, 0, 0), (2, 2, 1)), cloud(Box3D((0, 0, 0), (2, 2, 1)), 4000),
                   (9.0, 9.0, 9.0), 1, 0.5, "bed", 0.5, (("bed", 0.5),))  # fmt: skip
    chair = built_in((0.4, 0.4, 0), (0.5, 0.5, 0.9), score)
    assert len(fuse_detections([chair], [bed])) == count


def test_a_surer_built_in_box_stays_as_it_is():
    tracks = DetectionTracker()
    tracks.add([detection((2, 0, 0), score=0.5, size=(0.2, 0.25, 0.3))])
    known = built_in((2.0, 0.0, 0), (0.3, 0.3, 0.32), score=0.9)
    (fused,) = fuse_detections([known], tracks.proposals(0.0))
    assert fused.box == known.box and fused.label == "cup"
