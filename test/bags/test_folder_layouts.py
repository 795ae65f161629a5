"""Folders of images as the field records them become bags without renaming a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.image_folders import FIVE, FOCAL, HEIGHT, WIDTH, Images, K, room_depth, seven_scenes
from spatial3d_ros.bags.folder_geometry import SUN3D_UNIT, turn_upright, upward_axis
from spatial3d_ros.bags.folders import FolderRecording, frames_from_folder
from spatial3d_ros.bags.frame_names import read_frame_names, write_frame_names
from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.cli import app
from spatial3d_ros.errors import BagError, ConfigError
from spatial3d_ros.geometry.pose import invert, look_at, quaternion_xyzw


def sun3d(path: Path, images: Images) -> Path:
    for k in range(FIVE):
        images.color(path / "image" / f"{k + 1:07d}-{33_000 * k:012d}.jpg", k)
        images.depth(path / "depth" / f"{k + 1:07d}-{33_000 * k + 9_000:012d}.png", k)
    (path / "extrinsics").mkdir()
    np.savetxt(path / "extrinsics" / "20140808.txt", np.vstack([p[:3] for p in images.poses]))
    np.savetxt(path / "intrinsics.txt", K)
    return path


def tum(path: Path, images: Images, lists: bool) -> Path:
    rows = []
    for k, pose in enumerate(images.poses):
        images.color(path / "rgb" / f"{10 + k}.100000.png", k)
        images.depth(path / "depth" / f"{10 + k}.110000.png", k)
        rows.append([10.1 + k, *pose[:3, 3], *quaternion_xyzw(pose[:3, :3])])
    np.savetxt(path / "groundtruth.txt", rows, header="stamp tx ty tz qx qy qz qw", fmt="%.9f")
    for name, part in (("rgb", 100_000), ("depth", 110_000)) if lists else ():
        lines = [f"{10 + k}.{part} {name}/{10 + k}.{part}.png" for k in range(FIVE)]
        (path / f"{name}.txt").write_text("\n".join(lines))
    np.savetxt(path / "K.txt", K)
    return path


def redwood(path: Path, images: Images) -> Path:
    lines = []
    for k, pose in enumerate(images.poses):
        images.color(path / "image" / f"{k:05d}.jpg", k)
        images.depth(path / "depth" / f"{k:05d}.png", k)
        lines += [f"{k} {k} {k + 1}", *(" ".join(map(repr, map(float, row))) for row in pose)]
    (path / "office1.log").write_text("\n".join(lines))
    matrix = [float(v) for v in K.T.ravel()]
    (path / "camera_intrinsic.json").write_text(json.dumps({"intrinsic_matrix": matrix}))
    return path


def numbered(path: Path, images: Images) -> Path:
    """HoloLens, and views whose depth has other names."""
    for k in range(FIVE):
        images.color(path / "rgb" / f"rgb_{k}.png", k)
        images.depth(path / "depth" / f"depth_{k}.png", k)
    np.savetxt(path / "poses.txt", [pose.ravel() for pose in images.poses])
    np.savetxt(path / "K.txt", K)
    return path


def scannet(path: Path, images: Images) -> Path:
    for k, pose in enumerate(images.poses):
        images.color(path / "color" / f"{k}.jpg", k)
        images.depth(path / "depth" / f"{k}.png", k)
        (path / "pose").mkdir(exist_ok=True)
        np.savetxt(path / "pose" / f"{k}.txt", pose)
    matrix = np.eye(4)
    matrix[:3, :3] = K
    (path / "intrinsic").mkdir()
    np.savetxt(path / "intrinsic" / "intrinsic_depth.txt", matrix)
    return path


LAYOUTS: dict[str, tuple[Callable[[Path, Images], Path], float, str]] = {
    "7-Scenes": (seven_scenes, 0.001, "frame-000102"),
    "SUN3D": (sun3d, SUN3D_UNIT, "0000003-000000066000"),
    "TUM": (lambda path, images: tum(path, images, lists=True), 0.0002, "12.100000"),
    "TUM without lists": (lambda path, images: tum(path, images, False), 0.0002, "12.100000"),
    "Redwood": (redwood, 0.001, "00002"),
    "numbered": (numbered, 0.0001, "rgb_2"),
    "ScanNet": (scannet, 0.001, "2"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_becomes_a_bag(tmp_path: Path, name: str) -> None:
    make, unit, stem = LAYOUTS[name]
    images = Images(unit)
    folder = make(tmp_path / "scene", images)
    bag = tmp_path / "out.mcap"
    result = CliRunner().invoke(app, ["convert", str(folder), str(bag)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "layout: " in result.output
    frames = list(read_bag(bag))
    assert len(frames) == FIVE
    names = read_frame_names(bag)
    assert names[stem] == frames[2].stamp_ns
    for k, frame in enumerate(frames):
        # depth is stored in millimetres, and poses of TUM between two stamps
        assert np.abs(frame.depth - room_depth(images.true_poses[k])).max() < 0.006
        assert np.abs(frame.world_T_camera - images.poses[k]).max() < 1e-3
        assert frame.camera.fx == FOCAL


@pytest.mark.parametrize("unit", [0.001, 0.0002, 0.0001, 1 / 256])
def test_the_unit_of_depth_is_found_from_the_geometry(tmp_path: Path, unit: float) -> None:
    recording = frames_from_folder(seven_scenes(tmp_path, Images(unit)))
    assert recording.depth_unit == unit
    assert any("agrees with the next" in note for note in recording.notes)
    given = frames_from_folder(tmp_path, depth_unit=0.5)
    assert given.depth_unit == 0.5


def test_a_unit_that_no_two_views_show_is_said_to_be_a_guess(tmp_path: Path) -> None:
    images = Images()
    images.poses = images.true_poses = [images.true_poses[0]] * FIVE
    (note,) = (n for n in frames_from_folder(seven_scenes(tmp_path, images)).notes if "unit" in n)
    assert "--depth-unit" in note


@pytest.mark.parametrize("up", ["y", "-y", "x", "-z", "0,-1,0.5"])
def test_the_upward_axis_is_found_from_the_floor(tmp_path: Path, up: str) -> None:
    axis = upward_axis(up)
    assert axis is not None
    world = invert(turn_upright(axis))  # from z up to a world with another upward axis
    images = Images(world=world)
    folder = seven_scenes(tmp_path, images)
    for recording in (frames_from_folder(folder), frames_from_folder(folder, up=up)):
        ups = [frame.world_T_camera[2, :3] for frame in recording]
        wanted = [pose[2, :3] for pose in images.true_poses]
        assert np.abs(np.array(ups) - wanted).max() < 0.03


def test_a_camera_that_sees_nothing_level_keeps_z_and_says_so(tmp_path: Path) -> None:
    images = Images()
    level = [look_at((0.9, 0.2 * k, 1.2), (2, 0.2 * k, 1.2)) for k in range(-2, 3)]
    images.poses = images.true_poses = level
    recording = frames_from_folder(seven_scenes(tmp_path, images))
    assert np.allclose(recording.frames[0].world_T_camera, images.poses[0])
    assert any("give --up" in note for note in recording.notes)


def test_wrong_upward_axes() -> None:
    for text in ("w", "0,0,0", "1,2", "nan,0,1", ""):
        with pytest.raises(ConfigError, match=r"--up .*0,-1,0\.2"):
            upward_axis(text)


def test_saturated_depth_and_lost_poses_are_no_measurements(tmp_path: Path) -> None:
    folder = seven_scenes(tmp_path, Images())
    cv2.imwrite(str(folder / "frame-000100.depth.png"), np.full((HEIGHT, WIDTH), 65535, np.uint16))
    np.savetxt(folder / "frame-000101.pose.txt", np.full((4, 4), -np.inf))
    recording = frames_from_folder(folder, depth_unit=0.001)
    assert [stem for _, stem in recording.sources][:2] == ["frame-000100", "frame-000102"]
    assert "left out 1 frames" in " ".join(recording.notes)
    assert not next(iter(recording)).depth.any()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: (p / "frame-000101.depth.png").unlink(), r"000101\.depth\.png: missing"),
        (lambda p: (p / "frame-000101.pose.txt").unlink(), r"000101\.pose\.txt: missing"),
        (lambda p: (p / "frame-000101.pose.txt").write_text("1 2 3 4\n"), "expected a matrix"),
        (lambda p: (p / "camera-intrinsics.txt").unlink(), "K.txt: missing.*7-Scenes"),
        (lambda p: [f.unlink() for f in p.glob("*.color.png")], "no colour images"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    folder = seven_scenes(tmp_path / "scene", Images())
    damage(folder)
    with pytest.raises(BagError, match=words):
        frames_from_folder(folder)


def test_one_sequence_is_taken_and_several_are_named(tmp_path: Path) -> None:
    seven_scenes(tmp_path / "seq-01", Images())
    (tmp_path / "seq-01" / "camera-intrinsics.txt").rename(tmp_path / "camera-intrinsics.txt")
    assert len(frames_from_folder(tmp_path)) == FIVE
    (tmp_path / "seq-02").mkdir()
    with pytest.raises(BagError, match=r"several sequences .seq-01, seq-02.; give"):
        frames_from_folder(tmp_path)


def test_frame_names_are_checked(tmp_path: Path) -> None:
    bag = tmp_path / "room.mcap"
    assert read_frame_names(bag) == {}
    file = write_frame_names(bag, [(10**9, "frame-000017")])
    assert file.name == "room.frames.json"
    assert read_frame_names(bag) == {"frame-000017": 10**9}
    for text in ("{", '{"format": 2, "frames": []}', '{"format": 1, "frames": [{}]}', "[]"):
        file.write_text(text)
        with pytest.raises(BagError, match=r"room\.frames\.json: cannot be read"):
            read_frame_names(bag)


REAL = {
    "lounge_3dmatch": {},
    "amazon_bin": {},
    "tum_fr1_desk": {},
    "livingroom_corner": {},
    "hololens_corridor_94": {},
    "dining_room_5": {"intrinsics": (518.0, 519.0, 325.5, 253.5)},
}


@pytest.mark.parametrize("name", REAL)
def test_real_folders_convert_as_they_are(name: str) -> None:
    beside = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("SPATIAL3D_SHARED", beside)) / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not at hand")
    recording: FolderRecording = frames_from_folder(folder, **REAL[name])
    assert recording.depth_unit == 0.001  # as their READMEs say
    frame = next(iter(recording))
    assert 0.2 < np.median(frame.depth[frame.depth > 0]) < 5
