"""Rendered rooms on disk for training: one file a room, rendered when it is first read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.geometry.camera import Camera, project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.research.rooms.catalog import Catalogs, catalog_of_room
from spatial3d_ros.research.rooms.generator import (
    REVISION,
    Catalog,
    Room,
    RoomObject,
    generate_room,
)
from spatial3d_ros.research.rooms.look_alikes import before_change

VIEW_SIZE = (320, 240)
"""Width and height of stored views: crops are cut from them, and the network's image is made of
them as from a camera's.
"""
TRUTH_STRIDE = 2
"""Every so many pixels of a row and a column have a stored truth."""
NO_OBJECT = 255
HIDDEN = 0.4
"""Least share of the outline of an object's box that its pixels cover where it is not hidden: an
armchair or a bicycle does not fill its box either.
"""
OBJECTS = (6, 25)
"""Fewest and most objects of a room."""
_MAPS = ("instance", "color", "material", "pattern")


@dataclass(frozen=True, eq=False)
class RoomViews:
    """One rendered room: rgb (V, H, W, 3) uint8, depth (V, H, W) float32 metres, pose (V, 4, 4),
    camera, instance (V, H / TRUTH_STRIDE, W / TRUTH_STRIDE) uint8 object ids, NO_OBJECT for the
    shell; color, material, pattern (as instance) uint8 of `render.Rendered`; seen (V, n) the number
    of its pixels of each object in each view.
    """

    room: Room
    rgb: np.ndarray
    depth: np.ndarray
    pose: np.ndarray
    camera: Camera
    instance: np.ndarray
    color: np.ndarray
    material: np.ndarray
    pattern: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Pixels of each object in each view (V, n), counted at TRUTH_STRIDE."""
        count = len(self.room.objects)
        pixels = [np.bincount(view.ravel(), minlength=NO_OBJECT + 1) for view in self.instance]
        return np.stack(pixels)[:, :count]

    def hidden(self, item: RoomObject, views: np.ndarray) -> bool:
        """Whether each of the views shows less than HIDDEN of the object's outline: it is behind
        others, or outside of the picture.
        """
        shares = [0.0]
        for view, pixels in zip(views, self.seen[views, item.id], strict=True):
            corners, depth = project(
                transform(invert(self.pose[view]), item.box.corners()), self.camera
            )
            if pixels and (depth > 0).all():
                outline = cv2.contourArea(cv2.convexHull(corners.astype(np.float32)))
                shares.append(float(pixels) * TRUTH_STRIDE**2 / max(outline, 1.0))
        return max(shares) < HIDDEN

    def truncated_everywhere(self, item: RoomObject, views: np.ndarray) -> bool:
        """Whether several of the views show the object, all truncated by the image border."""
        seen = self.seen
        showing = [v for v in views if seen[v, item.id]]
        if len(showing) < 2:
            return False
        limits = np.array([self.camera.width, self.camera.height])
        for view in showing:
            pixels, depth = project(
                transform(invert(self.pose[view]), item.box.corners()), self.camera
            )
            if (depth > 0).all() and ((pixels >= 0) & (pixels < limits)).all():
                return False
        return True


@dataclass(frozen=True)
class ViewStore:
    """Rooms `first .. first + rooms - 1` with `views` views of `size` (width, height) each, in a
    folder. A file is complete or absent, so several processes may share a folder. objects: the
    least and the most of a room.
    """

    folder: Path
    rooms: int
    views: int
    first: int = 0
    size: tuple[int, int] = VIEW_SIZE
    catalog: Catalogs = "basic"
    objects: tuple[int, int] = OBJECTS

    def __len__(self) -> int:
        return self.rooms

    def __iter__(self) -> Iterator[RoomViews]:
        return (self[i] for i in range(self.rooms))

    def __getitem__(self, i: int) -> RoomViews:
        if not 0 <= i < self.rooms:
            raise IndexError(i)
        seed = self.first + i
        path = self._path(seed)
        if not path.is_file():
            self.render(seed)
        with np.load(path) as arrays:
            return _room_views(self._room(seed), arrays, self.size)

    @property
    def missing(self) -> list[int]:
        """Seeds of the rooms that are not rendered yet."""
        seeds = range(self.first, self.first + self.rooms)
        return [seed for seed in seeds if not self._path(seed).is_file()]

    def _room(self, seed: int) -> Room:
        least, most = self.objects
        catalog = catalog_of_room(self.catalog, seed)
        return _generated(seed, least, most, catalog)

    @property
    def name(self) -> str:
        """The settings that its pictures depend on, as the name of a folder."""
        return self._name(self.catalog)

    def _name(self, catalog: str) -> str:
        width, height = self.size
        count = "" if self.objects == OBJECTS else f"_{self.objects[0]}to{self.objects[1]}"
        return f"{catalog}{REVISION}{count}_{self.views}x{width}x{height}"

    def _path(self, seed: int) -> Path:
        return self.folder / self._name(catalog_of_room(self.catalog, seed)) / f"{seed:08d}.npz"

    def render(self, seed: int) -> None:
        """Render the room of a seed and write its file."""
        path = self._path(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.stem}.{os.getpid()}.part")
        with part.open("wb") as file:
            changing = self.catalog == "changing"
            np.savez(file, **_arrays(self._room(seed), self.views, self.size, changing))
        part.replace(path)


@lru_cache(maxsize=2048)  # a room that is read often is made once
def _generated(seed: int, least: int, most: int, catalog: Catalog) -> Room:
    return generate_room(seed, min_objects=least, max_objects=most, catalog=catalog)


def render_room(
    seed: int, *, views: int, size: tuple[int, int] = VIEW_SIZE, catalog: Catalog = "basic"
) -> RoomViews:
    """A room rendered now, without a file."""
    room = generate_room(seed, catalog=catalog)
    return _room_views(room, _arrays(room, views, size), size)


def _room_views(room: Room, arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> RoomViews:
    maps = dict(zip(_MAPS, arrays["maps"], strict=True))
    return RoomViews(
        room=room,
        rgb=arrays["rgb"],
        depth=arrays["depth"].astype(np.float32) / 1000.0,
        pose=arrays["pose"],
        camera=Camera(*size, *map(float, arrays["camera"])),
        **maps,
    )


def _arrays(
    room: Room, views: int, size: tuple[int, int], changing: bool = False
) -> dict[str, np.ndarray]:
    """The arrays of a file. The first half of the views of a changing room show it before."""
    # Only rendering needs the ray caster.
    from spatial3d_ros.research.rooms.views import training_views

    counts = [(room, views)]
    if changing:
        counts = [(before_change(room), views // 2), (room, views - views // 2)]
    # One seed, so that both parts have the same camera.
    parts = [
        training_views(one, np.random.default_rng((room.seed, 17)), n, size=size, supersample=1)
        for one, n in counts
    ]
    made = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    made["camera"] = parts[0]["camera"]
    instance = np.where(made["instance"] < 0, NO_OBJECT, made["instance"])
    maps = np.stack([instance, *(made[name] for name in _MAPS[1:])])
    return {
        "rgb": made["rgb"],
        "depth": np.clip(made["depth"] * 1000.0 + 0.5, 0, 65535).astype(np.uint16),
        "pose": made["poses"],
        "camera": np.asarray(made["camera"]),
        "maps": maps[..., ::TRUTH_STRIDE, ::TRUTH_STRIDE].astype(np.uint8),
    }
