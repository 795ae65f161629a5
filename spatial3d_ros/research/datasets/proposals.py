"""Objects that a 3D detector proposes for ScanNet scenes: boxes to choose from in evaluation.

Two forms are read: a folder in the format of ScanNet's instance benchmark, as Mask3D exports it
(`<scene>.txt` with lines `mask_file label_id score`, each mask with 0 or 1 for every vertex of
`<scene>_vh_clean_2.ply`), and a file of boxes (boxes_only.py) of any other detector. As in the
papers the `top` best-scored are kept, without those that overlap a better one (METHODS 1.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spatial3d_ros.bags.scannet import read_axis_alignment
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom, read_box_rooms
from spatial3d_ros.research.datasets.other_scans import is_other_scan, read_other_objects
from spatial3d_ros.research.datasets.scannet_objects import read_vertices

TOP, OVERLAP = 50, 0.9
_MARGIN = 0.5  # a proposal may end this far outside its scan (m)


@dataclass(frozen=True)
class ProposalReader:
    """Proposals of the scenes in the folder `scans`, from `source` (a folder or a file).

    overlap: greatest IoU with a better-scored proposal, of masks or of boxes. names: label id ->
    class name (label_classes.py); an id without a name stays a number.
    """

    source: Path
    scans: Path
    top: int = TOP
    overlap: float = OVERLAP
    names: Mapping[int, str] = field(default_factory=dict)

    def read(self, scene_ids: list[str]) -> dict[str, BoxRoom]:
        """Proposals by scene; ids count from 0 in the order of the scores.

        Raises ConfigError naming the file for a scene without proposals, a damaged mask, and
        proposals that belong to another scan.
        """
        if self.source.is_dir():
            return {name: self._of_masks(name) for name in scene_ids}
        rooms = read_box_rooms(self.source)
        missing = [name for name in scene_ids if name not in rooms]
        if missing:
            raise ConfigError(
                f"{self.source}: no proposals of {len(missing)} scenes, such as {missing[0]}; run "
                "the detector on all scenes of the annotations"
            )
        return {name: self._of_boxes(rooms[name]) for name in scene_ids}

    def _of_masks(self, scene_id: str) -> BoxRoom:
        listing = self.source / f"{scene_id}.txt"
        points = self._vertices(scene_id)
        found: list[tuple[float, str, np.ndarray]] = []
        for number, line in enumerate(_lines(listing), 1):
            try:
                name, label, score = line.split()
                entry = float(score), self.names.get(int(label), label), self.source / name
            except ValueError as error:
                raise ConfigError(
                    f"{listing}: line {number}: expected 'mask_file label_id score', found "
                    f"'{line[:60]}'"
                ) from error
            found.append((*entry[:2], _mask(entry[2], len(points), scene_id)))
        found.sort(key=lambda one: -one[0])
        kept: list[tuple[float, str, np.ndarray]] = []
        for one in found:
            if len(kept) == self.top:
                break
            if one[2].any() and all(_mask_iou(one[2], k[2]) < self.overlap for k in kept):
                kept.append(one)
        objects = []
        for k, (share, label, mask) in enumerate(kept):
            low, high = points[mask].min(axis=0), points[mask].max(axis=0)
            center, size = tuple((low + high) / 2), tuple(high - low)
            objects.append(BoxObject(id=k, label=label, center=center, size=size, score=share))
        return BoxRoom(scene_id=scene_id, objects=tuple(objects))

    def _of_boxes(self, room: BoxRoom) -> BoxRoom:
        points = self._vertices(room.scene_id)
        low, high = points.min(axis=0) - _MARGIN, points.max(axis=0) + _MARGIN
        centers = room.boxes[:, :3]
        outside = ((centers < low) | (centers > high)).any(axis=1)
        if len(centers) and outside.mean() > 0.5:
            raise ConfigError(
                f"{self.source}: {room.scene_id}: {outside.sum()} of {len(centers)} proposals lie "
                "outside the scan; they belong to another scan, or are not in the aligned frame"
            )
        order = sorted(range(len(centers)), key=lambda k: -room.objects[k].score)
        kept: list[int] = []
        for k in order:
            overlaps = iou_matrix(room.boxes[kept], room.boxes[k]) if kept else np.zeros(1)
            if len(kept) < self.top and overlaps.max() < self.overlap:
                kept.append(k)
        objects = tuple(room.objects[k].model_copy(update={"id": i}) for i, k in enumerate(kept))
        return BoxRoom(scene_id=room.scene_id, objects=objects)

    def _vertices(self, scene_id: str) -> np.ndarray:
        """Vertices (N, 3) of a scan in the aligned frame; the corners of the annotated objects
        where it is not ScanNet's, whose meshes have other forms.
        """
        scene = self.scans / scene_id
        if is_other_scan(scene):
            boxes = read_other_objects(scene).boxes
            half = boxes[:, 3:] / 2
            return np.concatenate([boxes[:, :3] - half, boxes[:, :3] + half])
        points, _ = read_vertices(scene / f"{scene_id}_vh_clean_2.ply")
        return transform(read_axis_alignment(scene / f"{scene_id}.txt"), points)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; expected one list of masks for each scene, as Mask3D exports it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error


def _mask(path: Path, vertices: int, scene_id: str) -> np.ndarray:
    try:
        mask = np.array(path.read_bytes().split(), dtype=np.float32) > 0
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}); copy the masks again") from error
    except ValueError as error:
        raise ConfigError(f"{path}: expected 0 or 1 in each line ({error})") from error
    if len(mask) != vertices:
        raise ConfigError(
            f"{path}: {len(mask)} values, but {scene_id} has {vertices} vertices; these are "
            "proposals of another scan, or of another version of its mesh"
        )
    return mask


def _mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
