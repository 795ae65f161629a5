"""What `synth scannet` writes is what the readers of the public files expect, and agrees with its
rooms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatial3d_ros.bags.scannet import read_scannet_scene
from spatial3d_ros.geometry.camera import backproject
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.research.datasets.label_classes import read_class_map
from spatial3d_ros.research.datasets.multi3drefer import read_multi_descriptions
from spatial3d_ros.research.datasets.referit3d import read_utterances
from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects
from spatial3d_ros.research.datasets.scanqa import read_scene_questions
from spatial3d_ros.research.datasets.scanrefer import read_descriptions
from spatial3d_ros.research.datasets.sqa3d import read_situated_questions
from spatial3d_ros.research.language.scannet_files import VALIDATION_FIRST
from spatial3d_ros.research.rooms.generator import generate_room

VAL = "scene0002_00"


def test_every_file_is_read_and_refers_to_annotated_objects(scannet: Path) -> None:
    described = read_descriptions(scannet / "scanrefer/ScanRefer_filtered_val.json")
    said = read_utterances(scannet / "referit3d/nr3d_val.csv")
    several = read_multi_descriptions(scannet / "multi3drefer/multi3drefer_val.json")
    asked = read_scene_questions(scannet / "scanqa/ScanQA_v1.0_val.json")
    situated = read_situated_questions(
        *(
            scannet / f"sqa3d/v1_balanced_{name}_val_scannetv2.json"
            for name in ("questions", "sqa_annotations")
        )
    )
    assert all((described, said, several, asked, situated))
    assert (scannet / "scannetv2_val.txt").read_text().split() == [VAL]
    names = dict(enumerate(read_scannet_objects(scannet / "scans" / VAL).labels))
    assert {one.scene_id for one in [*described, *several, *asked, *situated]} == {VAL}
    assert all(names[one.object_id] == one.name for one in described)
    assert all(names[one.target_id] == one.instance_type for one in said)
    assert {one.utterance for one in said} - {one.description for one in described}
    assert all(set(one.object_ids) <= set(names) for one in [*several, *asked])


def test_boxes_are_those_of_the_room_in_the_aligned_frame(scannet: Path) -> None:
    room = generate_room(VALIDATION_FIRST, catalog="basic")
    found = read_scannet_objects(scannet / "scans" / VAL)
    true = np.array([item.box.array() for item in room.objects])
    assert found.labels[-1] == "floor"
    np.testing.assert_allclose(found.boxes[:-1], true[:, :6], atol=2e-3)


def test_depth_of_every_frame_lies_in_the_room(scannet: Path) -> None:
    room = generate_room(VALIDATION_FIRST, catalog="basic")
    scene = read_scannet_scene(scannet / "scans" / VAL)
    assert [number for number, _ in scene.items] == [0, 10, 20, 30, 40, 50]
    for frame in scene:
        points = backproject(frame.depth, frame.camera)[frame.depth > 0]
        inside = transform(frame.world_T_camera, points)
        outside = (np.abs(inside[:, :2]) > np.array(room.size[:2]) / 2 + 0.15).any(1)
        assert outside.mean() < 0.02


def test_the_label_table_maps_names_to_benchmark_classes(scannet: Path) -> None:
    table = scannet / "scannetv2-labels.combined.tsv"
    class_of = read_class_map("scannet18", table)
    assert class_of("fridge") == "refrigerator"
    assert class_of("mug") == "others"
    assert read_class_map("nyu40", table)("chair") == "5"
