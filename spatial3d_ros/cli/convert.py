"""`spatial3d convert`: a folder of RGB-D images becomes a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_status, progress_bar
from spatial3d_ros.errors import ConfigError


def convert(
    folder: Annotated[Path, typer.Argument(help="Folder with colour, depth and poses.")],
    bag: Annotated[Path, typer.Argument(help="Bag to write: a .mcap or .db3 file, or a folder.")],
    rate: Annotated[float, typer.Option(help="Images a second, where files carry no time.")] = 10.0,
    depth_unit: Annotated[
        float | None, typer.Option(help="Metres of the depth value 1 [found from the images].")
    ] = None,
    up: Annotated[
        str, typer.Option(help="The world's upward axis: auto, z, -y, ... or a vector 0,-1,0.2.")
    ] = "auto",
    intrinsics: Annotated[
        str | None, typer.Option(help="FX,FY,CX,CY in pixels, where there is no calibration.")
    ] = None,
    storage: Annotated[str, typer.Option(help="mcap or sqlite3, for a bag folder.")] = "mcap",
    compressed: Annotated[bool, typer.Option(help="JPEG colour and PNG depth.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bag.")] = False,
) -> None:
    """Turn a folder of RGB-D images with poses into a ROS 2 bag.

    Layouts that are understood:

    - *7-Scenes, 3DMatch*: `NAME.color.png`, `NAME.depth.png`, `NAME.pose.txt` in one folder
    - *numbered* (HoloLens, SUN3D, Redwood): `images/` (or `color/`, `rgb/`), `depth/`, and poses:
      `poses.txt`, `*.log`, `extrinsics/` or a file an image in `pose/`; where `poses.txt` covers
      more images than are there, `all_image_names.txt` names them all
    - *TUM*: `rgb.txt` and `depth.txt`, or `rgb/` and `depth/` with stamps for names, and
      `groundtruth.txt`
    - *ScanNet*: `color/`, `depth/`, `pose/`, `intrinsic/`; in the axis-aligned frame, at 30 Hz

    Poses are camera to world. The calibration is `K.txt`, `camera-intrinsics.txt`,
    `intrinsics.txt` or Open3D's JSON. The unit of depth and the upward axis are found from the
    images, and printed. `NAME.frames.json` beside the bag names the source file of each frame.

        spatial3d convert corridor/ corridor.mcap --rate 5

        spatial3d convert rgbd_dataset_freiburg1_desk/ desk/ --intrinsics 517.3,516.5,318.6,255.3
    """
    from spatial3d_ros.bags.conversion import convert_folder

    camera = four_numbers(intrinsics) if intrinsics else None
    with progress_bar("images") as progress:
        count = convert_folder(
            folder, bag, rate_hz=rate, depth_unit=depth_unit, up=up, intrinsics=camera,
            storage=storage, compressed=compressed, overwrite=overwrite, say=print_status,
            progress=progress,
        )  # fmt: skip
    out.print(f"{bag}: {count} frames", soft_wrap=True)


def four_numbers(text: str) -> tuple[float, float, float, float]:
    """FX,FY,CX,CY as numbers. Raises ConfigError."""
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--intrinsics {text}: give four numbers FX,FY,CX,CY") from None
    return fx, fy, cx, cy
