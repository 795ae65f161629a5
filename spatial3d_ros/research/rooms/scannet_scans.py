"""Generated rooms in the layout of ScanNet, with proposals in that of Mask3D.

    scans/scene0000_00/color/0.jpg, depth/0.png (millimetres), pose/0.txt, intrinsic/*.txt,
        scene0000_00.txt (axisAlignment), scene0000_00_vh_clean_2.ply, ...segs.json,
        ...aggregation.json
    mask3d/scene0000_00.txt with lines `pred_mask/scene0000_00_000.txt label_id score`; each mask
        has one line, 0 or 1, for each vertex of the mesh
    scannetv2-labels.combined.tsv

As in ScanNet, poses and mesh are in a scan frame that `axisAlignment` turns into the frame of the
annotations, every tenth frame is exported, and object ids are those of the aggregation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.categories import CLASSES
from spatial3d_ros.errors import StorageError
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.research.datasets.label_classes import CLASSES as BENCHMARK_CLASSES
from spatial3d_ros.research.rooms.catalog import Catalog, Room, RoomObject
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.meshes import object_mesh
from spatial3d_ros.research.rooms.views import training_views

EVERY = 10  # frames of the capture between two exported ones
LABELS = "scannetv2-labels.combined.tsv"
SEEN_PIXELS = 12
_FLOOR_STEP = 0.1
_SAMPLES = 240  # vertices of an object besides the corners of its triangles
_FALSE_MASKS = 2
_NYU40 = {
    "cabinet": 3, "bed": 4, "chair": 5, "sofa": 6, "table": 7, "door": 8, "window": 9,
    "bookshelf": 10, "picture": 11, "counter": 12, "desk": 14, "curtain": 16, "refrigerator": 24,
    "shower curtain": 28, "toilet": 33, "sink": 34, "bathtub": 36,
}  # fmt: skip
_SYNONYMS = {"fridge": "refrigerator", "armchair": "chair", "shelf": "bookshelf", "stool": "chair"}


@dataclass(frozen=True, eq=False)
class WrittenScan:
    """A room in ScanNet's layout; `seen` are its objects that some frame shows."""

    scene_id: str
    room: Room
    seen: tuple[RoomObject, ...]


def write_scan(
    folder: Path,
    scene_id: str,
    seed: int,
    *,
    frames: int = 12,
    size: tuple[int, int] = (320, 240),
    catalog: Catalog = "full",
) -> WrittenScan:
    """Write the room of a seed below `folder`, with frames of `size` (width, height).

    Raises StorageError when a file cannot be written.
    """
    room, rng = generate_room(seed, catalog=catalog), np.random.default_rng((seed, 43))
    views = training_views(room, rng, frames, size=size, supersample=1)
    turn = rng.uniform(-np.pi, np.pi)
    aligned_T_scan = np.eye(4)
    aligned_T_scan[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    aligned_T_scan[:3, 3] = rng.uniform(-2, 2, 3) * (1, 1, 0.1)
    scene = folder / "scans" / scene_id
    try:
        _write_frames(scene, views, invert(aligned_T_scan))
        lines = f"numColorFrames = {frames * EVERY}\nnumDepthFrames = {frames * EVERY}\n"
        numbers = " ".join(f"{value:.9f}" for value in aligned_T_scan.ravel())
        (scene / f"{scene_id}.txt").write_text(f"axisAlignment = {numbers}\n{lines}")
        owner = _write_mesh(scene, room, invert(aligned_T_scan), rng)
        _write_proposals(folder / "mask3d", scene_id, room, owner, rng)
    except OSError as error:
        raise StorageError(f"{scene}: cannot be written ({error}); free space") from error
    pixels = [int((views["instance"] == item.id).sum()) for item in room.objects]
    seen = tuple(o for o, n in zip(room.objects, pixels, strict=True) if n >= SEEN_PIXELS)
    return WrittenScan(scene_id, room, seen)


def write_label_table(folder: Path) -> Path:
    """ScanNet's table of raw names and their NYU40 classes, for the classes of generated rooms."""
    rows = ["id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnYUDv2\tnyu40class"]
    for name, number in _label_ids().items():
        named = _SYNONYMS.get(name, name)
        other = named not in BENCHMARK_CLASSES
        nyu, of_class = (40, "otherprop") if other else (_NYU40[named], named)
        rows.append(f"{number}\t{name}\t{name}\t1\t{nyu}\t0\t0\t{of_class}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LABELS
    path.write_text("\n".join(rows) + "\n")
    return path


def _label_ids() -> dict[str, int]:
    return {name: number for number, name in enumerate((*CLASSES, "floor"), start=1)}


def _write_frames(scene: Path, views: dict[str, np.ndarray], scan_T_aligned: np.ndarray) -> None:
    for name in ("color", "depth", "pose", "intrinsic"):
        (scene / name).mkdir(parents=True, exist_ok=True)
    fx, fy, cx, cy = views["camera"]
    matrix = np.array([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for name in ("color", "depth"):
        np.savetxt(scene / "intrinsic" / f"intrinsic_{name}.txt", matrix, fmt="%.6f")
        np.savetxt(scene / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4), fmt="%.6f")
    for k, (rgb, depth, pose) in enumerate(
        zip(views["rgb"], views["depth"], views["poses"], strict=True)
    ):
        millimetres = np.clip(depth * 1000 + 0.5, 0, 65535).astype(np.uint16)
        _write_image(scene / "color" / f"{k * EVERY}.jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        _write_image(scene / "depth" / f"{k * EVERY}.png", millimetres)
        np.savetxt(scene / "pose" / f"{k * EVERY}.txt", scan_T_aligned @ pose, fmt="%.6f")


def _write_image(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"{path.name} was not written")


def _write_mesh(
    scene: Path, room: Room, scan_T_aligned: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Write mesh, segments and annotation; the object id of each vertex (N,), -1 for the floor."""
    points, colors, owner = [], [], []
    for item in room.objects:
        mesh = object_mesh(item)
        picked = rng.integers(len(mesh.triangles), size=_SAMPLES)
        weights = rng.dirichlet((1.0, 1.0, 1.0), _SAMPLES)
        inside = np.einsum("nk,nkd->nd", weights, mesh.triangles[picked])
        points.append(np.concatenate([mesh.triangles.reshape(-1, 3), inside]))
        colors.append(np.concatenate([mesh.rgb.repeat(3, 0), mesh.rgb[picked]]))
        owner.append(np.full(len(points[-1]), item.id))
    half = np.array(room.size[:2]) / 2
    axes = [np.arange(-side, side + 1e-6, _FLOOR_STEP) for side in half]
    floor = np.stack([*np.meshgrid(*axes), np.zeros((len(axes[1]), len(axes[0])))], -1)
    points.append(floor.reshape(-1, 3))
    colors.append(np.full((len(points[-1]), 3), 150.0))
    owner.append(np.full(len(points[-1]), -1))
    owners, scan = np.concatenate(owner), transform(scan_T_aligned, np.concatenate(points))
    names = [(n, "<f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue", "alpha")]
    rows = np.zeros(len(scan), dtype=names)
    for k, axis in enumerate("xyz"):
        rows[axis] = scan[:, k]
    for k, channel in enumerate(("red", "green", "blue")):
        rows[channel] = np.clip(np.concatenate(colors)[:, k], 0, 255)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(scan)}\n"
    header += "".join(f"property {'float' if n in 'xyz' else 'uchar'} {n}\n" for n, _ in names)
    header += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    stem = scene / f"{scene.name}_vh_clean_2"
    Path(f"{stem}.ply").write_bytes(header.encode() + rows.tobytes())
    # Two segments for each object, as ScanNet's over-segmentation has several.
    segments = 2 * (owners + 1) + (np.arange(len(owners)) % 2)
    Path(f"{stem}.0.010000.segs.json").write_text(
        json.dumps({"sceneId": scene.name, "segIndices": segments.tolist()})
    )
    groups = [
        {"id": k, "objectId": k, "segments": [2 * (k + 1), 2 * k + 3], "label": item.category}
        for k, item in enumerate(room.objects)
    ]
    last = len(groups)
    groups.append({"id": last, "objectId": last, "segments": [0, 1], "label": "floor"})
    (scene / f"{scene.name}.aggregation.json").write_text(
        json.dumps({"sceneId": f"scannet.{scene.name}", "segGroups": groups})
    )
    return owners


def _write_proposals(
    folder: Path, scene_id: str, room: Room, owner: np.ndarray, rng: np.random.Generator
) -> None:
    """One imperfect mask for each object, a copy of some, and a few of two objects at once."""
    (folder / "pred_mask").mkdir(parents=True, exist_ok=True)
    ids, masks = _label_ids(), []
    for item in room.objects:
        mask = (owner == item.id) & (rng.random(len(owner)) > rng.uniform(0.0, 0.3))
        masks.append((mask, ids[item.category], rng.uniform(0.6, 0.99)))
        if rng.random() < 0.3:  # the same object again: suppressed by the reader
            masks.append((mask, ids[item.category], rng.uniform(0.1, 0.5)))
    for _ in range(_FALSE_MASKS):
        pair = rng.choice(len(room.objects), 2, replace=False)
        masks.append((np.isin(owner, pair), ids[room.objects[pair[0]].category], 0.2))
    lines = []
    for k, (mask, label, score) in enumerate(masks):
        name = f"pred_mask/{scene_id}_{k:03d}.txt"
        (folder / name).write_text("\n".join(map(str, mask.astype(int))) + "\n")
        lines.append(f"{name} {label} {score:.4f}")
    (folder / f"{scene_id}.txt").write_text("\n".join(lines) + "\n")
