"""`spatial3d convert`: a folder of RGB-D images becomes a bag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatial3d_ros.cli.output import out, progress_bar
from spatial3d_ros.errors import ConfigError

if TYPE_CHECKING:
    from spatial3d_ros.bags.folders import FolderRecording
    from spatial3d_ros.bags.scannet import ScanNetScene
    from spatial3d_ros.scene.frame import Frame


def convert(
    folder: Annotated[Path, typer.Argument(help="Folder with colour, depth and poses.")],
    bag: Annotated[Path, typer.Argument(help="Bag to write: a .mcap or .db3 file, or a folder.")],
    rate: Annotated[float, typer.Option(help="Images a second, where files carry no time.")] = 10.0,
    depth_scale: Annotated[
        float | None, typer.Option(help="Depth value of one metre [1000; TUM files: 5000].")
    ] = None,
    up: Annotated[str, typer.Option(help="The world's upward axis: z, y or -y.")] = "z",
    intrinsics: Annotated[
        str | None, typer.Option(help="FX,FY,CX,CY in pixels, where there is no K.txt.")
    ] = None,
    storage: Annotated[str, typer.Option(help="mcap or sqlite3, for a bag folder.")] = "mcap",
    compressed: Annotated[bool, typer.Option(help="JPEG colour and PNG depth.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bag.")] = False,
) -> None:
    """Turn a folder of RGB-D images with poses into a ROS 2 bag.

    Three layouts are understood. *Numbered*: `images/` (or `color/`, `rgb/`), `depth/`,
    `poses.txt` with a camera-to-world pose an image (16, 12 or 7 numbers a line) and `K.txt`; where
    `poses.txt` covers more images than are there, `all_image_names.txt` names them all.
    *TUM*: `rgb.txt`, `depth.txt`, `groundtruth.txt`, and `K.txt`.
    *ScanNet*: a scene as its own tools export it, with `color/`, `depth/`, `pose/`, `intrinsic/`;
    it comes in the axis-aligned frame, at its own 30 images a second.

        spatial3d convert corridor/ corridor.mcap --up y --rate 5

        spatial3d convert rgbd_dataset_freiburg1_desk/ desk/ --intrinsics 517.3,516.5,318.6,255.3
    """
    from spatial3d_ros.bags.folders import frames_from_folder
    from spatial3d_ros.bags.scannet import is_scannet_scene, read_scannet_scene
    from spatial3d_ros.bags.writer import write_bag

    recording: ScanNetScene | FolderRecording
    if is_scannet_scene(folder):
        recording = read_scannet_scene(folder)
    else:
        recording = frames_from_folder(
            folder, rate_hz=rate, depth_scale=depth_scale, up=up,
            intrinsics=_four_numbers(intrinsics) if intrinsics else None,
        )  # fmt: skip
    with progress_bar("images") as progress:

        def counted() -> Iterator[Frame]:
            for done, frame in enumerate(recording, 1):
                progress(done, len(recording))
                yield frame

        count = write_bag(
            bag, counted(), storage=storage, compressed=compressed, overwrite=overwrite
        )
    out.print(f"{bag}: {count} frames", soft_wrap=True)


def _four_numbers(text: str) -> tuple[float, float, float, float]:
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--intrinsics {text}: give four numbers FX,FY,CX,CY") from None
    return fx, fy, cx, cy
