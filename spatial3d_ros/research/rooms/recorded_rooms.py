"""A generated room as a recording on disk: a bag, and a JSON file with its ground truth.

Images are rendered by several processes. Every frame has its own random numbers, so the recording
does not depend on how many processes there are.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.errors import BagError, ConfigError, FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.catalog import Catalog, Look, Room, RoomObject
from spatial3d_ros.scene.frame import Frame

CAMERA = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
START_NS = 10**9  # stamp 0 means "not set"
SEEN_PIXELS = 150  # of 640 x 480
CHUNK = 4
VERSION = 1  # of the JSON file; increase it when recordings must be regenerated


@dataclass(frozen=True, eq=False)
class RecordedRoom:
    """A bag of a generated room, and its ground truth.

    `pixels` (n frames, n objects) counts the pixels of each object in each frame.
    """

    bag: Path
    room: Room
    pixels: np.ndarray
    stamps_ns: tuple[int, ...]

    def seen_in(self, frames: Sequence[int], min_frames: int) -> list[int]:
        """Ids of the objects with SEEN_PIXELS in at least `min_frames` of these frames."""
        counts = (self.pixels[list(frames)] >= SEEN_PIXELS).sum(0)
        return [int(k) for k in np.flatnonzero(counts >= min_frames)]

    def seen(self, min_frames: int = 2) -> tuple[RoomObject, ...]:
        """The objects with SEEN_PIXELS in at least `min_frames` frames."""
        chosen = self.seen_in(range(len(self.pixels)), min_frames)
        return tuple(self.room.objects[k] for k in chosen)


def truth_file(bag: Path) -> Path:
    """Path of the ground truth of a bag: room.mcap -> room.truth.json."""
    return bag.with_name(f"{bag.stem if bag.suffix in ('.mcap', '.db3') else bag.name}.truth.json")


def record_room(
    bag: Path,
    seed: int,
    *,
    seconds: float = 15.0,
    rate_hz: float = 10.0,
    room: Room | None = None,
    catalog: Catalog = "basic",
    path: str = "robot",
    storage: str = "mcap",
    compressed: bool = False,
    camera: Camera = CAMERA,
    processes: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    overwrite: bool = False,
) -> RecordedRoom:
    """Generate the room of a seed, render it with sensor and pose noise, write bag and truth.

    `room` replaces that of seed and catalog; its ids must count from 0. `path` is "robot"
    or "hand"; `processes` 0 means two at most. Raises ConfigError for an unknown path and BagError
    when the bag exists.
    """
    from spatial3d_ros.research.rooms.generator import generate_room

    room = room or generate_room(seed, catalog=catalog)
    total = max(2, round(seconds * rate_hz))
    rendered = rendered_frames(
        room, seed, total, rate_hz, path=path, camera=camera, processes=processes
    )
    pixels: list[np.ndarray] = []

    def frames() -> Iterator[Frame]:
        for frame, counts in rendered:
            pixels.append(counts)
            progress(len(pixels), total)
            yield frame

    write_bag(bag, frames(), storage=storage, compressed=compressed, overwrite=overwrite)
    stamps = tuple(START_NS + round(k * 1e9 / rate_hz) for k in range(total))
    recorded = RecordedRoom(bag, room, np.array(pixels), stamps)
    _save(recorded)
    return recorded


def rendered_frames(
    room: Room,
    seed: int,
    count: int,
    rate_hz: float,
    *,
    path: str = "robot",
    camera: Camera = CAMERA,
    processes: int = 0,
) -> Iterator[tuple[Frame, np.ndarray]]:
    """`count` frames with the pixels (objects,) of each object, as `record_room` writes them.

    Raises ConfigError for an unknown path.
    """
    from spatial3d_ros.research.rooms.paths import hand_path, robot_path

    paths = {"robot": robot_path, "hand": hand_path}
    if path not in paths:
        raise ConfigError(f"path {path!r} is unknown: choose one of {', '.join(paths)}")
    poses = list(enumerate(paths[path](room, count, np.random.default_rng((seed, 17)))))
    chunks = [poses[first : first + CHUNK] for first in range(0, count, CHUNK)]
    jobs = [(room, seed, camera, rate_hz, chunk) for chunk in chunks]
    return _rendered(jobs, processes or min(2, os.cpu_count() or 1))


def load_recorded_room(bag: Path) -> RecordedRoom:
    """Read a recording and its ground truth.

    Raises BagError when it is missing or of another version.
    """
    file = truth_file(bag)
    if not (file.exists() and bag.exists()):
        raise BagError(
            f"{file if bag.exists() else bag}: missing; generate it with `spatial3d synth room`"
        )
    try:
        truth = json.loads(file.read_text())
        if truth["version"] != VERSION:
            raise BagError(f"{file}: version {truth['version']}, not {VERSION}; regenerate it")
        room = Room(
            truth["seed"], tuple(truth["size"]), tuple(_object(o) for o in truth["objects"])
        )
        pixels = np.array(truth["pixels"]).reshape(-1, len(room.objects))
        return RecordedRoom(bag, room, pixels, tuple(truth["stamps_ns"]))
    except (KeyError, TypeError, ValueError, RecursionError, FrameError) as error:
        raise BagError(
            f"{file}: damaged ({error}); regenerate it with `spatial3d synth room`"
        ) from error


def _save(recorded: RecordedRoom) -> None:
    room = recorded.room
    truth = {
        "version": VERSION,
        "seed": room.seed,
        "size": room.size,
        "objects": [asdict(item) for item in room.objects],
        "stamps_ns": recorded.stamps_ns,
        "pixels": recorded.pixels.tolist(),
    }
    truth_file(recorded.bag).write_text(json.dumps(truth))


def _object(fields: dict) -> RoomObject:
    box = fields["box"]
    parsed = Box3D(tuple(box["center"]), tuple(box["size"]), box["yaw"])
    look = fields.get("look")
    if look is not None:
        shades = {name: tuple(look[name]) for name in ("pattern_rgb", "part_rgb", "side_rgb")}
        look = Look(**{**look, **shades})
    return RoomObject(**{**fields, "box": parsed, "rgb": tuple(fields["rgb"]), "look": look})


Job = tuple[Room, int, Camera, float, list[tuple[int, np.ndarray]]]


def _rendered(jobs: list[Job], processes: int) -> Iterator[tuple[Frame, np.ndarray]]:
    """Frames in order, with the pixels of each object; only a few chunks are in memory."""
    if processes == 1:
        for job in jobs:
            yield from _render(job)
        return
    # Spawned, not forked: the caller may have threads and a ray caster.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        ahead = [pool.submit(_render, job) for job in jobs[: 2 * processes]]
        for next_job in range(len(ahead), len(jobs) + len(ahead)):
            done = ahead.pop(0)
            if next_job < len(jobs):
                ahead.append(pool.submit(_render, jobs[next_job]))
            yield from done.result()


def _render(job: Job) -> list[tuple[Frame, np.ndarray]]:
    from spatial3d_ros.research.rooms.render import RoomRenderer
    from spatial3d_ros.research.rooms.sensor import ColorNoise, DepthNoise, PoseNoise

    room, seed, camera, rate_hz, poses = job
    renderer = RoomRenderer(room)
    noise = ColorNoise.of_room(room, camera.width)
    frames = []
    for k, pose in poses:
        rng = np.random.default_rng((seed, 17, k))
        view = renderer.render(camera, pose)
        counts = np.bincount(view.instance.ravel() + 1, minlength=len(room.objects) + 1)[1:]
        frame = Frame(
            START_NS + round(k * 1e9 / rate_hz),
            noise.apply(view.rgb, rng),
            DepthNoise().apply(view, rng),
            camera,
            PoseNoise().apply(pose, rng),
        )
        frames.append((frame, counts))
    return frames
