"""Frames and proposals of ScanNet scenes: what is chosen, what is suppressed, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.research.datasets.annotations import (
    AnnotationFiles,
    read_annotations,
    require_objects,
)
from spatial3d_ros.research.datasets.boxes_only import read_box_rooms, write_box_rooms
from spatial3d_ros.research.datasets.label_classes import read_label_names
from spatial3d_ros.research.datasets.proposals import ProposalReader
from spatial3d_ros.research.datasets.scan_frames import (
    read_chosen_frames,
    require_scenes,
    scenes_in,
)
from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects

VAL = "scene0002_00"


@pytest.fixture
def changed(scannet: Path, tmp_path: Path) -> Path:
    """A copy of the validation scene's frames that a test may damage."""
    shutil.copytree(scannet / "scans" / VAL, tmp_path / VAL)
    return tmp_path


def numbers(folder: Path, count: int, choice: str = "uniform") -> list[int]:
    scene = read_chosen_frames(folder, VAL, count, choice)  # type: ignore[arg-type]
    return [number for number, _ in scene.items]


def test_uniform_frames_are_those_of_a_truncated_linspace(scannet: Path) -> None:
    assert numbers(scannet / "scans", 16) == [0, 10, 20, 30, 40, 50]
    assert numbers(scannet / "scans", 3) == [0, 20, 50]
    assert numbers(scannet / "scans", 4) == [0, 10, 30, 50]


def test_coverage_leaves_out_a_frame_that_shows_nothing_new(changed: Path) -> None:
    assert numbers(changed, 16, "coverage") == [0, 10, 20, 30, 40, 50]
    for name in ("color/{}.jpg", "depth/{}.png", "pose/{}.txt"):
        for number in (10, 20, 30, 40):
            shutil.copy(changed / VAL / name.format(0), changed / VAL / name.format(number))
    assert numbers(changed, 2, "coverage") == [0, 50]
    with pytest.raises(ConfigError, match="'best' is unknown; use uniform or coverage"):
        numbers(changed, 2, "best")


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_frames_that_were_copied_by_half_are_named(changed: Path, damage: str) -> None:
    image = changed / VAL / "depth/20.png"
    image.unlink()
    if damage == "empty":
        image.touch()
    with pytest.raises(ConfigError, match=r"depth: 1 of 6 frames .*: 20; the copy is incomplete"):
        numbers(changed, 3)


def test_missing_scenes_are_named(scannet: Path, tmp_path: Path) -> None:
    assert scenes_in(scannet / "scans") == [f"scene000{k}_00" for k in range(3)]
    with pytest.raises(ConfigError, match="1 of 2 scenes are missing: scene0009_00"):
        require_scenes(scannet / "scans", [VAL, "scene0009_00"])
    with pytest.raises(ConfigError, match="no scene; expected folders such as"):
        scenes_in(tmp_path)


def test_proposals_of_masks_are_the_objects_without_copies(scannet: Path) -> None:
    names = read_label_names("scannet200", scannet / "scannetv2-labels.combined.tsv")
    reader = ProposalReader(scannet / "mask3d", scannet / "scans", names=names)
    found = reader.read([VAL])[VAL]
    true = read_scannet_objects(scannet / "scans" / VAL)
    listed = (scannet / f"mask3d/{VAL}.txt").read_text().splitlines()
    scores = [one.score for one in found.objects]
    assert scores == sorted(scores, reverse=True)
    assert len(found.objects) < len(listed)  # the copies are suppressed
    overlaps = iou_matrix(found.boxes, true.boxes[:-1])
    assert (overlaps.max(axis=0) > 0.5).mean() > 0.9
    best = overlaps.argmax(axis=1)[overlaps.max(axis=1) > 0.5]
    right = [
        found.labels[k] == true.labels[b]
        for k, b in zip(np.flatnonzero(overlaps.max(axis=1) > 0.5), best, strict=True)
    ]
    assert np.mean(right) > 0.9
    few = ProposalReader(scannet / "mask3d", scannet / "scans", top=3, names=names).read([VAL])[VAL]
    assert few.objects == found.objects[:3]


def test_a_file_of_boxes_is_another_source(scannet: Path, tmp_path: Path) -> None:
    made = CliRunner().invoke(
        app,
        [
            "scannet-boxes", str(scannet / "scans" / VAL), "--out", str(tmp_path / "p.jsonl"),
            "--proposals", str(scannet / "mask3d"), "--top", "20",
        ],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    room = read_box_rooms(tmp_path / "p.jsonl")[VAL]
    reader = ProposalReader(tmp_path / "p.jsonl", scannet / "scans")
    assert reader.read([VAL])[VAL].boxes == pytest.approx(room.boxes)
    doubled = room.model_copy(update={"objects": (*room.objects, *room.objects)})
    copies = [o.model_copy(update={"id": k}) for k, o in enumerate(doubled.objects)]
    write_box_rooms(tmp_path / "p.jsonl", [room.model_copy(update={"objects": tuple(copies)})])
    assert len(reader.read([VAL])[VAL].objects) == len(room.objects)
    with pytest.raises(ConfigError, match="no proposals of 1 scenes, such as scene0000_00"):
        reader.read(["scene0000_00"])
    moved = [
        o.model_copy(update={"center": (o.center[0] + 30, *o.center[1:])}) for o in room.objects
    ]
    write_box_rooms(tmp_path / "p.jsonl", [room.model_copy(update={"objects": tuple(moved)})])
    with pytest.raises(ConfigError, match="lie outside the scan; they belong to another scan"):
        reader.read([VAL])


def test_masks_of_another_scan_and_damaged_lists_are_refused(scannet: Path, tmp_path: Path) -> None:
    (tmp_path / "pred_mask").mkdir()
    (tmp_path / "pred_mask/a.txt").write_text("1\n0\n1\n")
    reader = ProposalReader(tmp_path, scannet / "scans")
    with pytest.raises(ConfigError, match="no such file; expected one list of masks"):
        reader.read([VAL])
    (tmp_path / f"{VAL}.txt").write_text("pred_mask/a.txt 5 0.9\n")
    with pytest.raises(ConfigError, match=r"3 values, but scene0002_00 has .* another scan"):
        reader.read([VAL])
    (tmp_path / f"{VAL}.txt").write_text("pred_mask/a.txt 5\n")
    with pytest.raises(ConfigError, match="line 1: expected 'mask_file label_id score'"):
        reader.read([VAL])
    (tmp_path / f"{VAL}.txt").write_text("pred_mask/b.txt 5 0.9\n")
    with pytest.raises(ConfigError, match=r"b.txt: cannot be read .* copy the masks again"):
        reader.read([VAL])


def test_annotations_of_all_files_in_one_form(scannet: Path) -> None:
    sqa = scannet / "sqa3d/v1_balanced_{}_train_scannetv2.json"
    described = str(scannet / "scanrefer/ScanRefer_filtered_train.json")
    files = AnnotationFiles(
        scanrefer=described,
        referit3d=(str(scannet / "referit3d/nr3d_train.csv"),),
        multi3drefer=str(scannet / "multi3drefer/multi3drefer_train.json"),
        scanqa=str(scannet / "scanqa/ScanQA_v1.0_train.json"),
        sqa3d=(str(sqa).format("questions"), str(sqa).format("sqa_annotations")),
        scan2cap=described,
    )
    found = read_annotations(files)
    kinds = {one.benchmark for one in found}
    assert kinds == {"scanrefer", "referit3d", "multi3drefer", "scanqa", "sqa3d", "scan2cap"}
    assert files.tasks == ("ask", "caption")
    assert all(bool(one.answers) != one.grounds for one in found)
    captions = [one for one in found if one.benchmark == "scan2cap"]
    assert len({(c.scene_id, c.targets) for c in captions}) == len(captions)
    known = read_scannet_objects(scannet / "scans/scene0000_00").slots
    mine = [one for one in found if one.scene_id == "scene0000_00"]
    require_objects(mine, "scene0000_00", known, "files")
    with pytest.raises(ConfigError, match=r"annotations refer to objects .* does not have"):
        require_objects(mine, "scene0000_00", list(known)[:1], "files")
    with pytest.raises(ConfigError, match="no annotation file is given"):
        read_annotations(AnnotationFiles())
