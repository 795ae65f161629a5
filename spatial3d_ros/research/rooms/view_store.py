"""Rendered rooms on disk for training: each room is rendered once and then memory-mapped."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera, project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.research.rooms.generator import Catalog, Room, RoomObject, generate_room

MAX_OBJECTS = 32
CROP = 64
_ARRAYS = ("rgb", "depth", "pose", "camera", "seen", "maps", "crops", "crop_views")
_SHELL = 255


@dataclass(frozen=True, eq=False)
class RoomViews:
    """One rendered room: rgb (V, S, S, 3) uint8, depth (V, S, S) float32 metres, pose (V, 4, 4),
    camera, and seen (V, n) the number of pixels of each object in each view.

    maps (4, V, S, S) uint8: object id (255: the shell), color, material and pattern of each
    pixel (see `render.Rendered`). crops (n, K, 64, 64, 3) uint8 and crop_views (n, K) int8, -1
    where absent, are those of `crops.object_crops`; K is 0 in a store without crops.
    """

    room: Room
    rgb: np.ndarray
    depth: np.ndarray
    pose: np.ndarray
    camera: Camera
    seen: np.ndarray
    maps: np.ndarray
    crops: np.ndarray
    crop_views: np.ndarray

    def truncated_everywhere(self, item: RoomObject, views: np.ndarray) -> bool:
        """Whether several of the views show the object, all truncated by the image border."""
        showing = [v for v in views if self.seen[v, item.id]]
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


class ViewStore:
    """Rooms `first .. first + rooms - 1` with `views` square views of `size` pixels each."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        index = self.folder / "index.json"
        if not index.is_file():
            raise ConfigError(
                f"{index}: missing; render the rooms first with `spatial3d synth views`"
            )
        self.index: dict[str, Any] = json.loads(index.read_text())
        names = _ARRAYS if self.index["crops"] else _ARRAYS[:-2]
        self._arrays = {n: np.load(self.folder / f"{n}.npy", mmap_mode="r") for n in names}

    def __len__(self) -> int:
        return self.index["rooms"]

    def __getitem__(self, i: int) -> RoomViews:
        room = generate_room(self.index["first"] + i, catalog=self.index["catalog"])
        arrays = {name: array[i] for name, array in self._arrays.items()}
        return _room_views(room, arrays, self.index["size"])


def render_room(
    seed: int, *, views: int, size: int, catalog: Catalog = "basic", crops: int = 0
) -> RoomViews:
    """A room rendered now: `views` square views of `size` pixels, `crops` of each object."""
    made = _render_room(seed, views=views, size=size, catalog=catalog, crops=crops)
    return _room_views(generate_room(seed, catalog=catalog), made, size)


def _room_views(room: Room, arrays: dict[str, np.ndarray], size: int) -> RoomViews:
    """Of one room's _ARRAYS; those of crops may be absent."""
    fx, fy, cx, cy = map(float, arrays["camera"])
    count = len(room.objects)
    crops, crop_views = np.zeros((count, 0, CROP, CROP, 3), np.uint8), np.zeros((count, 0), np.int8)
    if "crops" in arrays:
        crops = np.array(arrays["crops"][:count])
        crop_views = np.array(arrays["crop_views"][:count])
    return RoomViews(
        room=room,
        rgb=np.array(arrays["rgb"]),
        depth=arrays["depth"].astype(np.float32) / 1000.0,
        pose=arrays["pose"].astype(np.float64),
        camera=Camera(size, size, fx, fy, cx, cy),
        seen=np.array(arrays["seen"][:, :count]),
        maps=np.array(arrays["maps"]),
        crops=crops,
        crop_views=crop_views,
    )


def render_store(
    folder: str | Path,
    *,
    rooms: int,
    views: int,
    size: int,
    first: int,
    workers: int,
    catalog: Catalog = "basic",
    crops: int = 0,
) -> ViewStore:
    """Render a store, or reuse an existing one with the same settings. `crops`: of each object."""
    folder = Path(folder)
    settings: dict[str, Any] = {"rooms": rooms, "views": views, "size": size, "first": first}
    settings |= {"catalog": catalog, "crops": crops}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several trainings may need the same rooms
        index = folder / "index.json"
        if not index.is_file() or json.loads(index.read_text()) != settings:
            index.unlink(missing_ok=True)
            _render(folder, settings, workers)
            index.write_text(json.dumps(settings))
    return ViewStore(folder)


def _render(folder: Path, settings: dict[str, Any], workers: int) -> None:
    rooms, views, size, first = (settings[k] for k in ("rooms", "views", "size", "first"))
    shapes = {
        "rgb": ((rooms, views, size, size, 3), np.uint8),
        "depth": ((rooms, views, size, size), np.uint16),
        "pose": ((rooms, views, 4, 4), np.float64),
        "camera": ((rooms, 4), np.float64),
        "seen": ((rooms, views, MAX_OBJECTS), np.int32),
        "maps": ((rooms, 4, views, size, size), np.uint8),
        "crops": ((rooms, MAX_OBJECTS, settings["crops"], CROP, CROP, 3), np.uint8),
        "crop_views": ((rooms, MAX_OBJECTS, settings["crops"]), np.int8),
    }
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in shapes.items()
        if 0 not in shape
    }
    render = partial(
        _render_room, views=views, size=size, catalog=settings["catalog"], crops=settings["crops"]
    )
    with ProcessPoolExecutor(workers) as pool:
        for i, rendered in enumerate(pool.map(render, range(first, first + rooms), chunksize=8)):
            for name in arrays:
                arrays[name][i] = rendered[name]
            if i % 100 == 99:
                print(f"rendered {i + 1} of {rooms} rooms", flush=True)
    for array in arrays.values():
        array.flush()


def _render_room(
    seed: int, *, views: int, size: int, catalog: Catalog, crops: int
) -> dict[str, np.ndarray]:
    # Only rendering needs the ray caster.
    from spatial3d_ros.research.rooms.views import training_views

    room = generate_room(seed, catalog=catalog)
    rng = np.random.default_rng((seed, 17))
    rendered = training_views(room, rng, views, size=(size, size), crops=crops)
    seen = np.zeros((views, MAX_OBJECTS), np.int32)
    for view, instance in enumerate(rendered["instance"]):
        seen[view] = np.bincount(instance[instance >= 0].ravel(), minlength=MAX_OBJECTS)[
            :MAX_OBJECTS
        ]
    objects = np.where(rendered["instance"] < 0, _SHELL, rendered["instance"])
    maps = [objects, *(rendered[name] for name in ("color", "material", "pattern"))]
    cut = np.zeros((MAX_OBJECTS, crops, CROP, CROP, 3), np.uint8)
    cut_views = np.full((MAX_OBJECTS, crops), -1, np.int8)
    if crops:
        cut[: len(room.objects)] = rendered["crops"]
        cut_views[: len(room.objects)] = rendered["crop_views"]
    return {
        "rgb": rendered["rgb"],
        "depth": np.clip(rendered["depth"] * 1000.0 + 0.5, 0, 65535).astype(np.uint16),
        "pose": rendered["poses"],
        "camera": np.asarray(rendered["camera"]),
        "seen": seen,
        "maps": np.stack(maps).astype(np.uint8),
        "crops": cut,
        "crop_views": cut_views,
    }
