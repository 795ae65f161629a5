"""Proposals from frames, on synthetic scenes with ground truth and on real table tops."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.block_views import (
    CAMERA,
    CRATE,
    EYES,
    FLOOR,
    PICTURE,
    ROOM,
    VASE,
    WALL,
    room_views,
    view,
)
from helpers.camera_recording import make_recording
from helpers.pcd import decompress_lzf, read_pcd
from helpers.proposal_recall import ProposalRecall, proposal_recall
from spatial3d_ros.errors import BagError
from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.scene.alignment import align
from spatial3d_ros.scene.box_fitting import snap_to_support
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import fuse, sample
from spatial3d_ros.scene.planes import find_structure
from spatial3d_ros.scene.proposals import Proposal, ProposalConfig, propose, region_tree
from spatial3d_ros.scene.visibility import FREE, OCCUPIED, UNOBSERVED, classify_points

TRUTH = {
    "table": Box3D.from_bounds((-0.6, -0.4, 0), (0.6, 0.4, 0.75)),
    "vase": Box3D.from_bounds(*VASE[:2]),
    "crate": Box3D.from_bounds(*CRATE[:2]),
    "picture": Box3D.from_bounds(*PICTURE[:2]),
}


def best_iou(truth: Box3D, proposals: list[Proposal]) -> float:
    return float(
        iou_matrix(truth.array()[None], np.array([p.box.array() for p in proposals])).max()
    )


@pytest.fixture(scope="module")
def found() -> list[Proposal]:
    return propose(room_views())


@pytest.mark.parametrize("name", TRUTH)
def test_every_object_of_a_noisy_scene_is_proposed(name, found):
    assert best_iou(TRUTH[name], found) > 0.5


def test_table_and_object_on_it_are_two_proposals(found):
    boxes = np.array([p.box.array() for p in found])
    owner = iou_matrix(np.array([TRUTH[n].array() for n in ("table", "vase")]), boxes).argmax(1)
    assert owner[0] != owner[1]


def test_proposals_are_sorted_bounded_and_distinct(found):
    scores = [p.score for p in found]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0 and max(scores) <= 1
    boxes = np.array([p.box.array() for p in found])
    overlap = iou_matrix(boxes, boxes) - np.eye(len(boxes))
    assert overlap.max() <= ProposalConfig().max_iou + 1e-9
    assert len(propose(room_views(2), ProposalConfig(max_proposals=2))) == 2


def test_points_color_and_views_of_a_proposal(found):
    crate = max(found, key=lambda p: best_iou(TRUTH["crate"], [p]))
    assert TRUTH["crate"].contains(crate.points, 0.08).mean() > 0.95
    assert crate.points.dtype == np.float32
    assert crate.rgb[0] > 2 * max(crate.rgb[1:])
    assert crate.views >= 3


def test_floor_and_wall_are_not_proposed(found):
    assert all(max(p.box.size[:2]) < 2.5 for p in found)


def test_small_objects_at_arms_length_are_proposed():
    """The same room as a model of a sixth of its size: the vase is 2.5 cm wide, 0.4 m away."""
    size = 1 / 6
    blocks = [(tuple(size * np.array(a)), tuple(size * np.array(b)), c) for a, b, c in ROOM]
    rng = np.random.default_rng(3)
    frames = [
        view(blocks, tuple(size * np.array(EYES[k])), (0, 0.5 * size, 0.6 * size), k, rng, 0.001)
        for k in range(5)
    ]
    small = propose(frames)
    for name in ("vase", "crate"):
        low, high = TRUTH[name].bounds()
        assert best_iou(Box3D.from_bounds(size * low, size * high), small) > 0.3, name


def test_specks_of_one_view_are_not_proposed(found):
    assert all(len(p.points) * p.views >= ProposalConfig().min_support for p in found)


@pytest.mark.parametrize("n", [1, 2])
def test_few_views_are_enough(n):
    found = propose(room_views(n))
    assert best_iou(TRUTH["vase"], found) > 0.25
    assert best_iou(TRUTH["table"], found) > 0.25


def test_no_proposals_without_depth():
    frame = room_views(1)[0]
    blind = Frame(0, frame.rgb, np.zeros_like(frame.depth), CAMERA, frame.world_T_camera)
    assert propose([]) == []
    assert propose([blind]) == []
    assert propose([blind, blind]) == []


def test_removed_object_is_not_proposed():
    before = [view(ROOM, EYES[k], (0, 0.5, 0.6), k) for k in range(3)]
    without = [b for b in ROOM if b is not CRATE]
    after = [view(without, EYES[k], (0, 0.5, 0.6), 3 + k) for k in (2, 1, 0)]
    assert best_iou(TRUTH["crate"], propose(before)) > 0.5
    assert best_iou(TRUTH["crate"], propose(before + after)) < 0.25


def test_alignment_undoes_small_pose_errors():
    rng = np.random.default_rng(0)
    exact = [sample(f) for f in room_views(noisy=False)]
    shift = [np.eye(4) for _ in exact]
    for move in shift:
        move[:3, 3] = rng.normal(0, 0.015, 3)
    wrong = [v.transformed(m) for v, m in zip(exact, shift, strict=True)]

    def error(views: list) -> float:  # across the wall and the floor; nothing long fixes x
        off = np.array(
            [v.point.mean(0) - e.point.mean(0) for v, e in zip(views, exact, strict=True)]
        )
        off -= off.mean(0)  # a common drift cannot be seen
        return float(np.linalg.norm(off[:, 1:], axis=1).mean())

    assert error(align(wrong)) < 0.5 * error(wrong)


def test_fused_points_views_and_normals():
    frames = room_views(2, noisy=False)
    cloud = fuse([sample(f) for f in frames], 0.025)
    assert (np.diff(cloud.key) > 0).all()
    assert cloud.views.max() == 2 and cloud.views.min() == 1
    floor = np.abs(cloud.point[:, 2]) < 0.005
    assert floor.sum() > 1000
    assert np.median(cloud.normal[floor & cloud.normal.any(1), 2]) > 0.99
    assert len(fuse([], 0.025)) == 0


def test_structure_is_floor_and_wall_without_table():
    structure = find_structure(fuse([sample(f) for f in room_views(noisy=False)], 0.025))
    assert abs(structure.floor.offset) < 0.01
    assert [round(float(w.offset), 1) for w in structure.walls] == [-2.5]


def test_box_with_hidden_legs_is_extended_to_the_floor():
    cloud = fuse([sample(f) for f in room_views(noisy=False)], 0.025)
    structure = find_structure(cloud)
    top = np.flatnonzero(
        (np.abs(cloud.point[:, 2] - 0.74) < 0.03) & (np.abs(cloud.point[:, 0]) < 0.6)
    )
    box = snap_to_support(Box3D.from_points(cloud.point[top]), top, cloud, structure)
    assert abs(box.bounds()[0][2]) < 0.02


def test_free_occupied_and_unobserved_points():
    frame = view([FLOOR, WALL, CRATE], (1.5, -2.0, 1.0), (1.5, 2.5, 1.0))
    points = np.array([[1.55, 0.5, 0.3], [1.5, -0.5, 0.8], [1.55, 1.8, 0.1], [1.5, -2.5, 1.0]])
    assert classify_points(points, frame).tolist() == [OCCUPIED, FREE, UNOBSERVED, UNOBSERVED]


def test_recall_counts_only_what_was_seen_in_two_views():
    truth = [Box3D((0, 0, 0), (1, 1, 1)), Box3D((5, 0, 0), (1, 1, 1)), Box3D((9, 0, 0), (1, 1, 1))]
    pixels = np.array([[200, 200, 900], [400, 151, 0]])
    near = Proposal(Box3D((0.2, 0, 0), (1, 1, 1)), np.zeros((1, 3), np.float32), (0, 0, 0), 2, 0.9)
    result = proposal_recall([near], truth, pixels, ["mug", "chair", "chair"])
    assert result.categories == ("mug", "chair") and result.objects == 3 and result.proposals == 1
    assert result.recall(0.5) == 0.5 and (result + result).proposals == 2
    assert result.by_category()["mug"].recall(0.5) == 1.0
    assert "mug" in result.table()
    assert np.isnan(ProposalRecall().recall(0.5))


def test_recall_on_generated_rooms():
    camera = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
    total = ProposalRecall()
    for seed, path in ((900001, "robot"), (900002, "hand")):
        room = generate_room(seed)
        recording = make_recording(room, seed, 12, camera, path)
        total += proposal_recall(
            propose(recording.frames),
            [o.box for o in room.objects],
            recording.pixels,
            [o.category for o in room.objects],
        )
    assert total.recall(0.25) >= 0.8
    assert total.proposals <= 3 * total.objects


def shared() -> Path:
    return Path(os.environ.get("SPATIAL3D_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.mark.parametrize("name", ["learn0", "learn18", "learn30", "learn40"])
def test_every_object_on_a_real_table_has_a_proposal(name):
    path = shared() / "data" / "osd_tabletop_clouds" / f"{name}.pcd"
    if not path.exists():
        pytest.skip(
            f"no {path.name}: set SPATIAL3D_SHARED to the folder with data/osd_tabletop_clouds"
        )
    cloud = read_pcd(path)
    table = (cloud.label > 0) & (cloud.label < 10)
    center = cloud.xyz[table].mean(0)
    up = np.linalg.eigh(np.cov((cloud.xyz[table] - center).T))[1][:, 0]
    up *= -np.sign(up[1])  # the camera's y points down
    right = np.cross([0.0, 0.0, 1.0], -up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(up, right), up])
    pose[2, 3] = -up @ center
    depth = np.nan_to_num(cloud.xyz[..., 2])
    frame = Frame(0, cloud.rgb, depth, Camera(640, 480, 525.0, 525.0, 319.5, 239.5), pose)
    world = cloud.xyz @ pose[:3, :3].T + pose[:3, 3]
    proposals = propose([frame])
    for k in range(2, cloud.label.max() // 10 + 1):
        truth = Box3D.from_points(world[cloud.label // 10 == k])
        assert best_iou(truth, proposals) >= 0.25, f"object {k} of {name}"


def test_lzf_copies_overlap_and_damage_is_noticed(tmp_path):
    assert decompress_lzf(bytes([1, 65, 66, (3 << 5) | 0, 1]), 7) == b"ABABABA"
    with pytest.raises(BagError, match=r"cut short|header says"):
        decompress_lzf(bytes([5, 65]), 6)
    (tmp_path / "no.pcd").write_bytes(b"hello")
    with pytest.raises(BagError, match="no PCD header"):
        read_pcd(tmp_path / "no.pcd")


def test_ascii_and_binary_clouds_read_the_same(tmp_path):
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\n"
    )
    header += "WIDTH 2\nHEIGHT 1\nPOINTS 2\n"
    (tmp_path / "a.pcd").write_text(header + "DATA ascii\n1 2 3 16711680\n4 5 6 255\n")
    rows = np.array([(1, 2, 3, 0xFF0000), (4, 5, 6, 0xFF)], dtype="<f4,<f4,<f4,<u4")
    (tmp_path / "b.pcd").write_bytes((header + "DATA binary\n").encode() + rows.tobytes())
    for name in ("a.pcd", "b.pcd"):
        cloud = read_pcd(tmp_path / name)
        assert cloud.xyz.tolist() == [[[1, 2, 3], [4, 5, 6]]]
        assert cloud.rgb.tolist() == [[[255, 0, 0], [0, 0, 255]]]
        assert cloud.label is None


def test_a_region_that_a_detector_finds_too_is_more_probable():
    tree = region_tree(room_views())
    assert [p.box for p in tree.proposals()] == [p.box for p in propose(room_views())]
    alone = [p.score for p in tree.proposals()]
    doubtful = tree.proposals()[int(np.argmin(alone))]
    detected = replace(doubtful, label="zorbik", score=1.0)
    overlaps = [(iou_matrix(detected.box.array()[None], p.box.array()[None])[0, 0], p.score)
                for p in tree.proposals([detected])]  # fmt: skip
    overlap, score = max(overlaps)
    assert overlap > 0.9 and score > doubtful.score
