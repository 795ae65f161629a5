"""`spatial3d convert` and `spatial3d synth`: where recordings come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, progress_bar
from spatial3d_ros.errors import ConfigError

synth = typer.Typer(no_args_is_help=True, help="Make data: rooms that never were.")


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
    from spatial3d_ros.data.bags.folders import frames_from_folder
    from spatial3d_ros.data.bags.writer import write_bag
    from spatial3d_ros.data.benchmarks.scannet import is_scannet_scene, read_scannet_scene

    if is_scannet_scene(folder):
        recording = read_scannet_scene(folder)
    else:
        recording = frames_from_folder(
            folder, rate_hz=rate, depth_scale=depth_scale, up=up,
            intrinsics=_four_numbers(intrinsics) if intrinsics else None,
        )  # fmt: skip
    with progress_bar("images") as progress:

        def counted():  # noqa: ANN202
            for done, frame in enumerate(recording, 1):
                progress(done, len(recording))
                yield frame

        count = write_bag(
            bag, counted(), storage=storage, compressed=compressed, overwrite=overwrite
        )
    out.print(f"{bag}: {count} frames", soft_wrap=True)


@synth.command()
def room(
    bag: Annotated[Path, typer.Argument(help="Bag to write: a .mcap or .db3 file, or a folder.")],
    seed: Annotated[int, typer.Option(help="Which room; from 900000 on never trained on.")] = 0,
    seconds: Annotated[float, typer.Option(help="Length of the recording.")] = 15.0,
    rate: Annotated[float, typer.Option(help="Images a second.")] = 10.0,
    path: Annotated[str, typer.Option(help="Who carries the camera: robot or hand.")] = "robot",
    storage: Annotated[str, typer.Option(help="mcap or sqlite3, for a bag folder.")] = "mcap",
    compressed: Annotated[bool, typer.Option(help="JPEG colour and PNG depth.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bag.")] = False,
) -> None:
    """Furnish a room, film it as a noisy RGB-D camera would, and write a bag with its exact truth.

    Beside the bag stand `NAME.truth.json` (every object with its box, and the pixels of each in
    each frame) and `NAME.queries.yaml` (questions and layout edits with their answers).

        spatial3d synth room room.mcap --seed 900001 --path hand
    """
    from spatial3d_ros.data.bags.recorded_rooms import record_room, truth_file
    from spatial3d_ros.evaluation.asking import (
        ROOM_KINDS,
        ask_about,
        queries_file,
        write_queries,
    )
    from spatial3d_ros.evaluation.layout import layout_questions
    from spatial3d_ros.evaluation.room_tasks import EDITS

    with progress_bar("frames") as progress:
        made = record_room(
            bag, seed, seconds=seconds, rate_hz=rate, path=path, storage=storage,
            compressed=compressed, progress=progress, overwrite=overwrite,
        )  # fmt: skip
    queries = queries_file(bag)
    edits = layout_questions(made.room, made.seen(), seed, EDITS)
    write_queries(queries, ask_about(made.seen(), seed, ROOM_KINDS), made.room, edits)
    out.print(
        f"{bag}: {len(made.stamps_ns)} frames of a room with {len(made.room.objects)} objects\n"
        f"{truth_file(bag)}\n{queries}",
        soft_wrap=True,
    )


def scannet_boxes(
    scenes: Annotated[list[Path], typer.Argument(help="Folders of ScanNet scenes.")],
    boxes: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("rooms.jsonl"),
) -> None:
    """Annotated objects of ScanNet scenes as rooms of boxes, for `spatial3d evaluate --objects`.

    spatial3d scannet-boxes scans/scene0011_00 scans/scene0011_01 --out rooms.jsonl
    """
    from spatial3d_ros.data.benchmarks.boxes_only import write_box_rooms
    from spatial3d_ros.data.benchmarks.scannet_objects import read_scannet_objects

    rooms = [read_scannet_objects(scene) for scene in scenes]
    write_box_rooms(boxes, rooms)
    count = sum(len(room.objects) for room in rooms)
    out.print(f"{boxes}: {len(rooms)} scenes, {count} objects", soft_wrap=True)


def _four_numbers(text: str) -> tuple[float, float, float, float]:
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--intrinsics {text}: give four numbers FX,FY,CX,CY") from None
    return fx, fy, cx, cy
