"""Small pictures of objects: JPEG crops of their best views, bounded in number and bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.memory.presence import surface_points
from spatial3d_ros.memory.records import MemoryObject, Picture
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.visibility import OCCUPIED, classify_points

SIDE = 160  # of the largest picture, pixels
QUALITY = 80
MARGIN = 0.2  # around the visible points, as a share of the longer side
MIN_SIDE = 16  # pixels of the camera image; less shows nothing
MIN_VISIBLE = 0.4  # share of the points
BETTER = 1.3  # factor by which a view must be better than one from the same direction
OTHER_DIRECTION = math.radians(40.0)
_AT_BORDER = 0.3  # factor on the score of an object that the image border truncates


class PictureKeeper:
    """Chooses which pictures of which object are kept.

    Args:
        store: where they are.
        limit: pictures of one object.
        max_bytes: of all pictures; the oldest are dropped first.
    """

    def __init__(self, store: MemoryStore, limit: int, max_bytes: int) -> None:
        self._store, self._limit, self._max_bytes = store, limit, max_bytes
        self._kept: dict[int, list[Picture]] = {}  # without their JPEG
        self._bytes = 0
        for picture in store.picture_list():
            self._append(picture)

    def look(self, objects: Sequence[MemoryObject], frame: Frame) -> None:
        """Takes pictures of the objects that a view shows better than those before."""
        if not objects or not self._limit:
            return
        points = [surface_points(known) for known in objects]
        owner = np.repeat(np.arange(len(objects)), [len(part) for part in points])
        everything = np.concatenate(points)
        visible = classify_points(everything, frame) == OCCUPIED
        uv, _ = project(transform(invert(frame.world_T_camera), everything), frame.camera)
        for index, known in enumerate(objects):
            shown = visible & (owner == index)
            share = shown.sum() / len(points[index])
            if share < MIN_VISIBLE:
                continue
            self._consider(known, frame, uv[shown], float(share))

    def take_over(self, old: int, new: int) -> None:
        """The pictures of object `new` are of object `old`; the store has moved them already."""
        self._kept.setdefault(old, []).extend(
            replace(picture, object_id=old) for picture in self._kept.pop(new, ())
        )
        self._trim(old)

    def forget(self, ids: Iterable[int]) -> None:
        """Objects were removed from the store."""
        for number in ids:
            self._bytes -= sum(picture.nbytes for picture in self._kept.pop(number, ()))

    def _consider(self, known: MemoryObject, frame: Frame, uv: np.ndarray, share: float) -> None:
        height, width = frame.depth.shape
        low, high = uv.min(0), uv.max(0)
        side = float((high - low).max()) * (1 + 2 * MARGIN)
        if side < MIN_SIDE:
            return
        inside = low.min() > 2 and high[0] < width - 3 and high[1] < height - 3
        # Beyond the size of a picture more pixels show nothing more.
        score = min(side, 2.0 * SIDE) * share * (1.0 if inside else _AT_BORDER)
        eye = frame.world_T_camera[:3, 3] - known.box.center
        bearing = math.atan2(eye[1], eye[0])
        kept = self._kept.get(known.id, [])
        alike = [p for p in kept if abs(_turn(p.bearing, bearing)) < OTHER_DIRECTION]
        rivals = alike or (kept if len(kept) >= self._limit else [])
        worst = min(rivals, key=lambda p: p.score, default=None)
        if worst is not None and score < BETTER * worst.score:
            return
        jpeg = _jpeg(frame.rgb, (low + high) / 2, side)
        if any(p.stamp_ns == frame.stamp_ns for p in kept):
            return  # one picture of an object from a view
        if worst is not None:
            self._drop(worst)
        picture = Picture(known.id, frame.stamp_ns, score, bearing, len(jpeg), jpeg)
        self._store.add_picture(picture)
        self._append(replace(picture, jpeg=b""))
        while self._bytes > self._max_bytes:
            self._drop(min((p for part in self._kept.values() for p in part), key=_stamp))

    def _append(self, picture: Picture) -> None:
        self._kept.setdefault(picture.object_id, []).append(picture)
        self._bytes += picture.nbytes

    def _drop(self, picture: Picture) -> None:
        self._kept[picture.object_id].remove(picture)
        self._bytes -= picture.nbytes
        self._store.remove_picture(picture)

    def _trim(self, number: int) -> None:
        kept = sorted(self._kept.get(number, []), key=_stamp)
        for picture in kept[: max(0, len(kept) - self._limit)]:
            self._drop(picture)


def _stamp(picture: Picture) -> int:
    return picture.stamp_ns


def _turn(a: float, b: float) -> float:
    return math.remainder(a - b, 2 * math.pi)


def _jpeg(rgb: np.ndarray, middle: np.ndarray, side: float) -> bytes:
    """The square of `side` pixels around (u, v) in an image (H, W, 3), at most SIDE wide."""
    rows, columns = rgb.shape[:2]
    size = min(max(round(side), MIN_SIDE), rows, columns)
    x = min(max(round(float(middle[0]) - size / 2), 0), columns - size)
    y = min(max(round(float(middle[1]) - size / 2), 0), rows - size)
    cut = rgb[y : y + size, x : x + size]
    if size > SIDE:
        cut = cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(cut, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
