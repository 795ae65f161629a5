"""ARKitScenes and MultiScan: small folders in their layouts, one box in front of a camera."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from helpers.small_model import small_model, small_tokenizer
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import backproject
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.datasets.box_sources import ScanBoxes
from spatial3d_ros.research.datasets.scan_frames import read_chosen_frames

COUNT, DEPTH = 5, 1.5
WIDTH, HEIGHT = 64, 48
ALIGNED_T_CAMERA = np.array(  # looks along x from (0, 0.2, 0.5)
    [[0.0, 0, 1, 0], [-1, 0, 0, 0.2], [0, -1, 0, 0.5], [0, 0, 0, 1]]
)
AXES = [0.6, 0.8, 0.0, 0.0, 0.0, 1.0, 0.8, -0.6, 0.0]  # a cabinet that is turned, its height second
BOX = {"centroid": [2.0, 0.2, 0.5], "axesLengths": [1.0, 0.9, 0.5], "normalizedAxes": AXES}
SIZE = (1.0, 1.1, 0.9)


def color(number: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), 40 * number + 20, np.uint8)


def write_arkit(scans: Path) -> Path:
    path = scans / "41254925"
    frames = path / f"{path.name}_frames"
    for name in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (frames / name).mkdir(parents=True)
    camera_T_aligned = invert(ALIGNED_T_CAMERA)
    turn = Rotation.from_matrix(camera_T_aligned[:3, :3]).as_rotvec()
    lines = []
    for number in range(COUNT):
        seconds = 2034.1 + number / 10
        stem = f"{path.name}_{seconds:.3f}"
        cv2.imwrite(str(frames / f"lowres_wide/{stem}.png"), color(number))
        depth = np.full((HEIGHT, WIDTH), 1000 * DEPTH, np.uint16)
        cv2.imwrite(str(frames / f"lowres_depth/{stem}.png"), depth)
        near = f"{path.name}_{seconds - 0.001:.3f}.pincam"  # as some of the published names
        (frames / "lowres_wide_intrinsics" / near).write_text(f"{WIDTH} {HEIGHT} 50 50 31.5 23.5")
        if number != 1:  # an image without a pose
            values = [seconds + 0.002, *turn, *camera_T_aligned[:3, 3]]
            lines.append(" ".join(f"{value:.9f}" for value in values))
    (frames / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    told = {"data": [{"label": "cabinet", "uid": "x", "segments": {"obbAligned": BOX}}]}
    (path / f"{path.name}_3dod_annotation.json").write_text(json.dumps(told))
    return path


def write_multiscan(scans: Path) -> Path:
    path = scans / "scene_00000_00"
    path.mkdir(parents=True)

    def file(ending: str) -> Path:
        return path / f"{path.name}.{ending}"

    video = cv2.VideoWriter(str(file("mp4")), cv2.VideoWriter.fourcc(*"mp4v"), 60, (WIDTH, HEIGHT))
    for number in range(COUNT):
        video.write(color(number))
    video.release()
    depth = np.stack([np.full((HEIGHT // 2, WIDTH // 2), DEPTH + k) for k in range(COUNT)])
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(depth.astype("<f2").tobytes()) + packer.flush()
    file("depth.zlib").write_bytes(packed)
    world_T_stored = np.eye(4)
    world_T_stored[:3, :3] = Rotation.from_euler("xz", (-90, 30), degrees=True).as_matrix()
    world_T_stored[:3, 3] = (1.0, -2.0, 0.5)
    pose = world_T_stored @ ALIGNED_T_CAMERA @ np.diag([1.0, -1, -1, 1])
    k = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])
    line = {"transform": pose.ravel("F").tolist(), "intrinsics": k.ravel("F").tolist()}
    file("jsonl").write_text(f"{json.dumps(line)}\n" * COUNT)
    file("align.json").write_text(
        json.dumps({"coordinate_transform": world_T_stored.ravel("F").tolist()})
    )
    streams = [
        {"type": "color_camera", "encoding": "h264", "resolution": [HEIGHT, WIDTH]},
        {
            "type": "lidar_sensor", "encoding": "float16_zlib",
            "resolution": [HEIGHT // 2, WIDTH // 2],
        },
    ]  # fmt: skip
    file("json").write_text(json.dumps({"depth_unit": "m", "streams": streams}))
    one = {"objectId": 1, "label": "wall_cabinet.1", "obb": BOX | {"front": [-0.6, -0.8, 0.0]}}
    file("annotations.json").write_text(json.dumps({"objects": [one], "parts": []}))
    return path


Write = Callable[[Path], Path]
LAYOUTS = pytest.mark.parametrize("write", [write_arkit, write_multiscan])


@LAYOUTS
def test_frames_and_boxes_are_in_one_frame(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path)
    numbers = [0, 2, 3, 4] if write is write_arkit else [0, 1, 2, 3, 4]
    scan = read_chosen_frames(tmp_path, path.name, 2)
    assert [number for number, _ in scan.items] == [numbers[0], numbers[-1]]
    for (number, _), frame in zip(scan.items, scan, strict=True):
        assert abs(int(frame.rgb.mean()) - 40 * number - 20) <= 4
        far = DEPTH + (number if write is write_multiscan else 0)
        seen = transform(frame.world_T_camera, backproject(frame.depth, frame.camera, 1))
        seen = seen.reshape(-1, 3)
        assert seen[:, 0] == pytest.approx(far, abs=1e-3)
        assert seen[:, 1:].mean(0) == pytest.approx([0.2, 0.5], abs=0.1)
    (known,) = ScanBoxes(tmp_path).rooms([path.name])[path.name].objects
    assert known.center == (2.0, 0.2, 0.5)
    assert known.size == pytest.approx(SIZE)
    assert known.label == ("cabinet" if write is write_arkit else "wall cabinet")


@LAYOUTS
def test_a_benchmark_file_is_evaluated_on_them(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "scans")
    model, _ = small_model()
    save_model(tmp_path / "model", model, small_tokenizer(), torch.float32)
    (known,) = ScanBoxes(path.parent).rooms([path.name])[path.name].objects
    entry = {
        "scene_id": path.name, "object_id": known.id, "object_name": "cabinet", "ann_id": 0,
        "description": "the cabinet in front of the camera",
    }  # fmt: skip
    (tmp_path / "val.json").write_text(json.dumps([entry]))
    arguments = ["--scans", path.parent, "--model", tmp_path / "model", "--views", 2, "--json"]
    arguments += ["--utterances", tmp_path / "val.json"]
    made = CliRunner().invoke(app, ["evaluate", "scanrefer", *map(str, arguments)])
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["samples"]["evaluated"] == 1
    assert report["scores"]["network"]["overall"]["accuracy"] == 1.0  # there is only one box


@LAYOUTS
def test_damaged_copies_are_named(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path)
    if write is write_arkit:
        (path / f"{path.name}_frames/lowres_wide/{path.name}_2034.100.png").unlink()
        with pytest.raises(ConfigError, match=r"2034\.100\.png: missing"):
            list(read_chosen_frames(tmp_path, path.name, 2))
        traj = path / f"{path.name}_frames/lowres_wide.traj"
        traj.write_text("1.0 2.0")
        with pytest.raises(ConfigError, match=r"lowres_wide\.traj: expected 7 finite numbers"):
            read_chosen_frames(tmp_path, path.name, 2)
    else:
        stream = path / f"{path.name}.depth.zlib"
        stream.write_bytes(stream.read_bytes()[:12])
        with pytest.raises(ConfigError, match=r"depth\.zlib: .* frame [04] has a camera"):
            list(read_chosen_frames(tmp_path, path.name, 2))
        with pytest.raises(ConfigError, match="coverage reads ScanNet only"):
            read_chosen_frames(tmp_path, path.name, 2, "coverage")
