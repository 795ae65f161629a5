"""Loaders of the public benchmark files, on small files written here in the same layout."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from helpers.dataset_files import scannet_folder, situated, write
from spatial3d_ros.bags.scannet import read_scannet_scene
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.boxes_only import BoxRoom, read_box_rooms, write_box_rooms
from spatial3d_ros.research.datasets.label_classes import read_class_map
from spatial3d_ros.research.datasets.multi3drefer import read_multi_descriptions
from spatial3d_ros.research.datasets.references import match
from spatial3d_ros.research.datasets.referit3d import read_utterances
from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects
from spatial3d_ros.research.datasets.scanqa import read_scene_questions
from spatial3d_ros.research.datasets.scanrefer import read_descriptions, unique_objects
from spatial3d_ros.research.datasets.sqa3d import read_situated_questions

OBJECT = {"id": 3, "label": "chair", "center": [1, 2, 0.5], "size": [0.5, 0.5, 1.0]}
NR3D = {
    "stimulus_id": "scene0000_00-office chair-2-3-5",
    "utterance": "The chair, left of the desk",
    "correct_guess": "True",
    "scan_id": "scene0000_00",
    "instance_type": "office chair",
    "target_id": "3",
    "tokens": "['the', 'chair', 'left', 'of', 'the', 'desk']",
    "dataset": "nr3d",
    "mentions_target_class": "True",
}
SCANREFER = {
    "scene_id": "scene0000_00", "object_id": "3", "object_name": "office_chair", "ann_id": "0",
    "description": "a chair.", "token": ["a", "chair", "."],
}  # fmt: skip


def write_rooms(path: Path, *rooms: dict) -> Path:
    path.write_text("".join(json.dumps(room) + "\n" for room in rooms))
    return path


def write_csv(path: Path, *rows: dict) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_rooms_come_back_as_they_were_written(tmp_path: Path) -> None:
    colored = OBJECT | {"id": 4, "avg_rgb": [1, 2, 3], "front_point": None, "nyu_label": "ignored"}
    path = write_rooms(tmp_path / "rooms.jsonl", {"scene_id": "s", "objects": [OBJECT, colored]})
    room = read_box_rooms(path)["s"]
    assert room.slots == {3: 0, 4: 1}
    assert room.labels == ("chair", "chair")
    assert room.boxes.tolist() == [[1, 2, 0.5, 0.5, 0.5, 1]] * 2
    assert room.objects[0].avg_rgb is None
    write_box_rooms(tmp_path / "again.jsonl", [room])
    assert read_box_rooms(tmp_path / "again.jsonl")["s"] == room
    packed = tmp_path / "rooms.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_box_rooms(packed)["s"] == room


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"center": [1, 2, float("nan")]}, "objects.0.center.2"),
        ({"center": [1, 2]}, "objects.0.center.2"),
        ({"size": [1, -2, 1]}, "objects.0.size.1"),
        ({"size": [1, float("inf"), 1]}, "objects.0.size.1"),
        ({"id": "x"}, "objects.0.id"),
        ({"label": None}, "objects.0.label"),
    ],
)
def test_a_wrong_box_is_named_with_file_line_and_field(
    tmp_path: Path, change: dict, named: str
) -> None:
    good = {"scene_id": "a", "objects": [OBJECT]}
    bad = {"scene_id": "b", "objects": [OBJECT | change]}
    path = write_rooms(tmp_path / "rooms.jsonl", good, bad)
    with pytest.raises(ConfigError, match=rf"rooms\.jsonl: line 2: {named}: "):
        read_box_rooms(path)


def test_missing_and_doubled_things_in_rooms(tmp_path: Path) -> None:
    path = tmp_path / "rooms.jsonl"
    with pytest.raises(ConfigError, match="no such file"):
        read_box_rooms(path)
    for text, complaint in (
        ("", "no room"),
        ('{"scene_id": "a"}', "line 1: objects: .*found nothing"),
        ('{"scene_id": "a", "objects": [', "line 1: invalid JSON"),
        ("[]", "line 1: .*dictionary"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=complaint):
            read_box_rooms(path)
    with pytest.raises(ConfigError, match="a: duplicate id 3"):
        read_box_rooms(write_rooms(path, {"scene_id": "a", "objects": [OBJECT, OBJECT]}))
    room = {"scene_id": "a", "objects": []}
    with pytest.raises(ConfigError, match="duplicate scene_id a"):
        read_box_rooms(write_rooms(path, room, room))
    path.write_bytes(gzip.compress(b"{}" * 100)[:-20])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_box_rooms(path)


def test_utterances_and_their_splits(tmp_path: Path) -> None:
    hard = NR3D | {
        "stimulus_id": "scene0000_00-t-shirt-3-7-8-9", "target_id": "7", "correct_guess": "False",
        "utterance": "a shirt\nover there", "tokens": "['a', 'shirt']",
    }  # fmt: skip
    one, other = read_utterances(write_csv(tmp_path / "nr3d.csv", NR3D, hard))
    assert (one.class_count, one.easy, one.view_dependent, one.official) == (2, True, True, True)
    assert one.tokens == ("the", "chair", "left", "of", "the", "desk")
    assert (other.class_count, other.easy, other.view_dependent) == (3, False, False)
    assert not other.official
    assert other.utterance == "a shirt\nover there"
    synthetic = {k: v for k, v in NR3D.items() if k != "correct_guess"} | {
        "reference_type": "farthest"
    }
    sr3d = read_utterances(write_csv(tmp_path / "sr3d.csv", synthetic))[0]
    assert sr3d.official  # nobody was asked to guess
    assert sr3d.reference_type == "farthest"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"target_id": "4"}, "line 3: .*differs from scan_id, target_id"),
        ({"stimulus_id": "scene0000_00-chair"}, "line 3: .*expected scene-label-count-target"),
        ({"stimulus_id": "scene0000_00-chair-4-3-5"}, "line 3: .*count 4, but 2 object ids"),
        ({"tokens": "the chair"}, "line 3: tokens: .*not a Python list"),
        ({"mentions_target_class": "perhaps"}, "line 3: mentions_target_class"),
        ({"target_id": ""}, "line 3: target_id: .*found nothing"),
    ],
)
def test_a_wrong_utterance_is_named(tmp_path: Path, change: dict, complaint: str) -> None:
    path = write_csv(tmp_path / "nr3d.csv", NR3D, NR3D | change)
    with pytest.raises(ConfigError, match=complaint):
        read_utterances(path)


def test_a_table_without_a_column(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "nr3d.csv", {k: v for k, v in NR3D.items() if k != "scan_id"})
    with pytest.raises(ConfigError, match="line 1: no column scan_id"):
        read_utterances(path)


def test_descriptions(tmp_path: Path) -> None:
    one = read_descriptions(write(tmp_path / "s.json", [SCANREFER]))[0]
    assert (one.object_id, one.name, one.token) == (3, "office chair", ("a", "chair", "."))
    broken = [SCANREFER, {k: v for k, v in SCANREFER.items() if k != "description"}]
    with pytest.raises(ConfigError, match=r"s\.json: entry 1: description: "):
        read_descriptions(write(tmp_path / "s.json", broken))
    with pytest.raises(ConfigError, match="expected a list"):
        read_descriptions(write(tmp_path / "s.json", {"a": 1}))


def test_unique_counts_distinct_annotated_objects_by_class(tmp_path: Path) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text(
        "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class\n"
        "1\toffice chair\tchair\t1\t5\t4\tchair\tchair\n"
        "2\tarmchair\tchair\t1\t5\t4\tchair\tchair\n"
        "3\tlamp\tlamp\t1\t35\t7\tlamp\tlamp\n"
        "4\tpiano\tpiano\t1\t39\t6\tpiano\totherfurniture\n"
        "5\tmirror\tmirror\t1\t19\t7\tmirror\tmirror\n"
    )
    things = [(3, "office_chair"), (3, "office_chair"), (4, "armchair"), (5, "lamp"), (6, "piano")]
    entries = [SCANREFER | {"object_id": str(i), "object_name": n} for i, n in things]
    described = read_descriptions(write(tmp_path / "s.json", entries))

    def unique(mode: str) -> set[int]:
        return {i for _, i in unique_objects(described, read_class_map(mode, table))}

    assert unique("raw") == {3, 4, 5, 6}
    assert unique("scannet18") == set()  # two chairs; lamp and piano are both "others"
    assert unique("nyu40") == set()  # lamp's 35 is not on the list and becomes 39, as piano's
    assert read_class_map("nyu40", table)("armchair") == "5"
    assert read_class_map("scannet18", table)("never heard of") == "others"
    with pytest.raises(ConfigError, match=r"scannetv2-labels\.combined\.tsv"):
        read_class_map("nyu40")


def test_absent_scenes_and_objects_are_counted_and_listed() -> None:
    entries = [("a", [1]), ("a", [1, 9]), ("b", [1]), ("b", []), ("a", [])]
    matched = match(entries, {"a": {1, 2}}, lambda entry: entry)
    assert matched.kept == [("a", [1]), ("a", [])]
    assert matched.json() == {"count": 3, "what": {"a: object 9": 1, "b": 2}}


def test_multi_descriptions(tmp_path: Path) -> None:
    entry = {
        "scene_id": "s", "object_ids": [1, 2], "object_name": "chair", "ann_id": 0,
        "description": "two chairs", "eval_type": "mt", "spatial": True,
    }  # fmt: skip
    path = write(tmp_path / "m.json", [entry, entry | {"object_ids": [], "eval_type": "zt_w_d"}])
    both = read_multi_descriptions(path)
    assert [one.object_ids for one in both] == [(1, 2), ()]
    for change in ({"eval_type": "zt"}, {"eval_type": "st_w_d"}, {"object_ids": [1]}):
        with pytest.raises(ConfigError, match=r"m\.json: entry 0: .*eval_type"):
            read_multi_descriptions(write(path, [entry | change]))


def test_scene_questions(tmp_path: Path) -> None:
    entry = {
        "scene_id": "s", "question_id": "val-0", "question": "What?", "answers": ["brown", "dark"],
        "object_ids": [4], "object_names": ["chair"],
    }  # fmt: skip
    hidden = {"scene_id": "s", "question_id": "test-1", "question": "Where?"}
    known, unknown = read_scene_questions(write(tmp_path / "q.json", [entry, hidden]))
    assert (known.answers, unknown.answers) == (("brown", "dark"), ())
    with pytest.raises(ConfigError, match="duplicate question_id val-0"):
        read_scene_questions(write(tmp_path / "q.json", [entry, entry]))


def test_situated_questions(tmp_path: Path) -> None:
    (one,) = read_situated_questions(*situated(tmp_path))
    assert (one.question_id, one.type, one.answers) == ("7", "is", ("yes",))
    assert (one.position, one.rotation) == ((1, 2, 0), (0, 0, 1, 0))
    for change, complaint in (
        ({"question_id": 8}, "2 questions are in one file only, such as 7"),
        ({"answers": []}, r"a\.json: entry 0: answers"),
        ({"position": {"x": 1, "y": float("nan"), "z": 0}}, r"a\.json: entry 0: position\.y"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            read_situated_questions(*situated(tmp_path, **change))
    questions, _ = situated(tmp_path)
    with pytest.raises(ConfigError, match="expected a list under 'annotations'"):
        read_situated_questions(questions, questions)


def test_frames_of_a_scannet_scene(tmp_path: Path) -> None:
    scene = read_scannet_scene(scannet_folder(tmp_path / "scene0000_00"))
    assert (len(scene), scene.lost, scene.scene_id) == (1, (1,), "scene0000_00")
    (frame,) = scene
    assert frame.rgb.shape == (12, 16, 3)
    assert frame.rgb[5, 5, 0] > 150 > frame.rgb[5, 5, 2]
    assert np.allclose(frame.depth, 1.5)
    assert (frame.camera.fx, frame.camera.fy) == (10, 11)
    assert np.allclose(frame.world_T_camera[:3, 3], [2, 1, 0.5])  # (1, 0, 0), turned and shifted


def test_objects_of_a_scannet_scene(tmp_path: Path) -> None:
    folder = scannet_folder(tmp_path / "scene0000_00")
    room: BoxRoom = read_scannet_objects(folder)
    assert room.labels == ("sofa", "floor lamp")
    # x' = 2 - y and y' = x: the sofa's 1 x 2 m lie across, from x' = 0 to 2 and y' = 0 to 1.
    assert np.allclose(room.boxes[0], [1, 0.5, 1, 2, 1, 1])
    assert np.allclose(room.boxes[1], [-3, 5, 6, 0, 0, 1])
    assert room.objects[0].avg_rgb == (30, 0, 0)


def test_broken_scannet_scenes(tmp_path: Path) -> None:
    folder = scannet_folder(tmp_path / "scene0000_00")
    mesh = folder / "scene0000_00_vh_clean_2.ply"
    mesh.write_bytes(mesh.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="truncated; 6 vertices"):
        read_scannet_objects(folder)
    mesh.write_bytes(b"solid")
    with pytest.raises(ConfigError, match="no binary little-endian PLY"):
        read_scannet_objects(folder)
    (folder / "depth/0.png").unlink()
    with pytest.raises(ConfigError, match=r"0\.png: missing"):
        list(read_scannet_scene(folder))
    (folder / "scene0000_00.txt").write_text("axisAlignment = 1 0 0\n")
    with pytest.raises(ConfigError, match="line 1: axisAlignment: expected 16 numbers, found 3"):
        read_scannet_scene(folder)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_scannet_scene(tmp_path / "nowhere")


def test_the_released_test_split_of_sqa3d() -> None:
    beside = Path(__file__).resolve().parents[4] / "shared"
    folder = Path(os.environ.get("SPATIAL3D_SHARED", beside)) / "data" / "sqa3d_test"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; set SPATIAL3D_SHARED")
    questions = read_situated_questions(
        folder / "v1_balanced_questions_test_scannetv2.json",
        folder / "v1_balanced_sqa_annotations_test_scannetv2.json",
    )
    assert len(questions) == 3519
    assert sum(q.type == "what" for q in questions) == 1144
    assert {len(q.answers) for q in questions} == {1}
