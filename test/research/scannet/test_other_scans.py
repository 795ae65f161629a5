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
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom
from spatial3d_ros.research.datasets.scan_frames import read_chosen_frames
from spatial3d_ros.research.evaluation.public.boxes_cases import scanrefer_cases

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
    annotate_arkit(path, {"cabinet": BOX})
    return path


def annotate_arkit(path: Path, boxes: dict[str, dict]) -> None:
    told = [
        {"label": label.rstrip("2"), "uid": "x", "segments": {"obbAligned": box}}
        for label, box in boxes.items()
    ]
    (path / f"{path.name}_3dod_annotation.json").write_text(json.dumps({"data": told}))


def annotate_multiscan(path: Path, boxes: dict[str, dict]) -> None:
    told = [
        {"objectId": k, "label": f"{label.rstrip('2')}.{k}", "obb": box}
        for k, (label, box) in enumerate(boxes.items(), start=1)
    ]
    found = {"objects": told, "parts": []}
    (path / f"{path.name}.annotations.json").write_text(json.dumps(found))


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
    annotate_multiscan(path, {"wall_cabinet": BOX | {"front": [-0.6, -0.8, 0.0]}})
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
def test_sentences_of_sceneverse_and_absent_ids(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "scans")
    (known,) = ScanBoxes(path.parent).rooms()[path.name].objects
    assert known.id == 1  # MultiScan's own id; in ARKitScenes SceneVerse counts from 1
    file = tmp_path / "ssg_ref_rel2_template.json"
    entries = [
        {"item_id": f"0_{k}", "scan_id": scan, "target_id": str(target), "instance_type": "cabinet",
         "utterance": "the cabinet to the left of the sofa"}
        for k, (scan, target) in enumerate([(path.name, 1), (path.name, 7), ("47331606", 1)])
    ]  # fmt: skip
    file.write_text(json.dumps(entries))
    found = scanrefer_cases(ScanBoxes(path.parent), file)
    assert [(one.text, one.target) for one in found.cases] == [(entries[0]["utterance"], 0)]
    assert "view-dependent" in found.cases[0].splits
    assert found.absent == {"count": 2, "what": {f"{path.name}: object 7": 1, "47331606": 1}}
    del entries[1]["target_id"]
    file.write_text(json.dumps(entries))
    with pytest.raises(ConfigError, match=r"rel2_template\.json: entry 1: .*_id: Field required"):
        scanrefer_cases(ScanBoxes(path.parent), file)


@LAYOUTS
def test_sentences_are_made_about_them(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "scans")
    upright = {"axesLengths": [0.4, 0.4, 0.4], "normalizedAxes": np.eye(3).ravel().tolist()}
    places = {"stool": (1.5, 0.2, 0.5), "stool2": (1.5, 2.5, 0.5), "sofa": (1.5, -0.6, 0.5)}
    boxes = {label: upright | {"centroid": place} for label, place in places.items()}
    (annotate_arkit if write is write_arkit else annotate_multiscan)(path, boxes)
    model, _ = small_model()
    save_model(tmp_path / "model", model, small_tokenizer(), torch.float32)
    arguments = ["--scans", path.parent, "--model", tmp_path / "model", "--views", 2, "--json"]
    made = CliRunner().invoke(app, ["evaluate", "sr3d-style", *map(str, arguments)])
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["scores"]["relation rules"]["overall"] == {"n": 2, "accuracy": 1.0}
    assert {"closest", "farthest"} <= report["scores"]["network"].keys()
    assert report["settings"]["views"] == "2 of each scene, uniform"
    detected = BoxRoom(
        scene_id=path.name,
        objects=tuple(
            BoxObject(id=k, label="?", center=place, size=(0.4, 0.4, 0.3))
            for k, place in enumerate(places.values())
        ),
    )
    (tmp_path / "boxes.jsonl").write_text(detected.model_dump_json())
    arguments += ["--proposals", tmp_path / "boxes.jsonl"]
    made = CliRunner().invoke(app, ["evaluate", "sr3d-style", *map(str, arguments)])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["scores"]["network"]["overall"].keys() == {
        "n", "acc@0.25", "acc@0.5",
    }  # fmt: skip


@LAYOUTS
def test_damaged_copies_are_named(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path)
    if write is write_arkit:
        (path / f"{path.name}_frames/lowres_wide/{path.name}_2034.100.png").write_bytes(b"")
        with pytest.raises(ConfigError, match=r"lowres_wide: 1 of 5 frames .*: 41254925_2034\.100"):
            read_chosen_frames(tmp_path, path.name, 2)
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
    next(path.glob("*annotation*.json")).unlink()
    with pytest.raises(ConfigError, match=r"annotations?\.json: no such file"):
        ScanBoxes(tmp_path).rooms()
