"""Rendered rooms on disk for training: each room is rendered once and then memory-mapped."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera, project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.research.rooms.generator import Room, RoomObject, generate_room

MAX_OBJECTS = 32
_ARRAYS = ("rgb", "depth", "pose", "camera", "seen")


@dataclass(frozen=True, eq=False)
class RoomViews:
    """One rendered room: rgb (V, S, S, 3) uint8, depth (V, S, S) float32 metres, pose (V, 4, 4),
    camera, and seen (V, n) the number of pixels of each object in each view.
    """

    room: Room
    rgb: np.ndarray
    depth: np.ndarray
    pose: np.ndarray
    camera: Camera
    seen: np.ndarray

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
        self.index: dict[str, int] = json.loads(index.read_text())
        self._arrays = {n: np.load(self.folder / f"{n}.npy", mmap_mode="r") for n in _ARRAYS}

    def __len__(self) -> int:
        return self.index["rooms"]

    def __getitem__(self, i: int) -> RoomViews:
        room = generate_room(self.index["first"] + i)
        arrays = {name: array[i] for name, array in self._arrays.items()}
        fx, fy, cx, cy = map(float, arrays["camera"])
        size = self.index["size"]
        return RoomViews(
            room=room,
            rgb=np.array(arrays["rgb"]),
            depth=arrays["depth"].astype(np.float32) / 1000.0,
            pose=arrays["pose"].astype(np.float64),
            camera=Camera(size, size, fx, fy, cx, cy),
            seen=np.array(arrays["seen"][:, : len(room.objects)]),
        )


def render_room(seed: int, *, views: int, size: int) -> RoomViews:
    """A room rendered now: `views` square views of `size` pixels."""
    made = _render_room(seed, views=views, size=size)
    room = generate_room(seed)
    fx, fy, cx, cy = map(float, made["camera"])
    return RoomViews(
        room=room,
        rgb=made["rgb"],
        depth=made["depth"].astype(np.float32) / 1000.0,
        pose=made["pose"],
        camera=Camera(size, size, fx, fy, cx, cy),
        seen=made["seen"][:, : len(room.objects)],
    )


def render_store(
    folder: str | Path, *, rooms: int, views: int, size: int, first: int, workers: int
) -> ViewStore:
    """Render a store, or reuse an existing one with the same settings."""
    folder = Path(folder)
    settings = {"rooms": rooms, "views": views, "size": size, "first": first}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several trainings may need the same rooms
        index = folder / "index.json"
        if not index.is_file() or json.loads(index.read_text()) != settings:
            index.unlink(missing_ok=True)
            _render(folder, settings, workers)
            index.write_text(json.dumps(settings))
    return ViewStore(folder)


def _render(folder: Path, settings: dict[str, int], workers: int) -> None:
    rooms, views, size, first = (settings[k] for k in ("rooms", "views", "size", "first"))
    shapes = {
        "rgb": ((rooms, views, size, size, 3), np.uint8),
        "depth": ((rooms, views, size, size), np.uint16),
        "pose": ((rooms, views, 4, 4), np.float64),
        "camera": ((rooms, 4), np.float64),
        "seen": ((rooms, views, MAX_OBJECTS), np.int32),
    }
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in shapes.items()
    }
    render = partial(_render_room, views=views, size=size)
    with ProcessPoolExecutor(workers) as pool:
        for i, rendered in enumerate(pool.map(render, range(first, first + rooms), chunksize=8)):
            for name in _ARRAYS:
                arrays[name][i] = rendered[name]
            if i % 100 == 99:
                print(f"rendered {i + 1} of {rooms} rooms", flush=True)
    for array in arrays.values():
        array.flush()


def _render_room(seed: int, *, views: int, size: int) -> dict[str, np.ndarray]:
    # Only rendering needs the ray caster.
    from spatial3d_ros.research.rooms.views import training_views

    room = generate_room(seed)
    rendered = training_views(room, np.random.default_rng((seed, 17)), views, size=(size, size))
    seen = np.zeros((views, MAX_OBJECTS), np.int32)
    for view, instance in enumerate(rendered["instance"]):
        seen[view] = np.bincount(instance[instance >= 0].ravel(), minlength=MAX_OBJECTS)[
            :MAX_OBJECTS
        ]
    return {
        "rgb": rendered["rgb"],
        "depth": np.clip(rendered["depth"] * 1000.0 + 0.5, 0, 65535).astype(np.uint16),
        "pose": rendered["poses"],
        "camera": np.asarray(rendered["camera"]),
        "seen": seen,
    }
