"""A folder of RGB-D images in any known layout becomes a bag, with the names of its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from spatial3d_ros.bags.folder_files import Intrinsics
from spatial3d_ros.bags.folder_geometry import AUTO
from spatial3d_ros.bags.folders import FolderRecording, frames_from_folder
from spatial3d_ros.bags.frame_names import write_frame_names
from spatial3d_ros.bags.scannet import ScanNetScene, is_scannet_scene, read_scannet_scene
from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.scene.frame import Frame


def convert_folder(
    folder: Path,
    bag: Path,
    *,
    rate_hz: float = 10.0,
    depth_unit: float | None = None,
    up: str = AUTO,
    intrinsics: Intrinsics | None = None,
    storage: str = "mcap",
    compressed: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> int:
    """Writes `bag` and `NAME.frames.json` beside it; returns the number of frames.

    `say` gets the decisions that were made; the options are those of `frames_from_folder` and
    `write_bag`, as are the errors raised.
    """
    recording: ScanNetScene | FolderRecording
    if is_scannet_scene(folder):
        recording = read_scannet_scene(folder)
    else:
        recording = frames_from_folder(
            folder, rate_hz=rate_hz, depth_unit=depth_unit, up=up, intrinsics=intrinsics
        )
    for note in recording.notes:
        say(note)

    def counted() -> Iterator[Frame]:
        for done, frame in enumerate(recording, 1):
            progress(done, len(recording))
            yield frame

    count = write_bag(bag, counted(), storage=storage, compressed=compressed, overwrite=overwrite)
    write_frame_names(bag, recording.sources)
    return count
