"""`spatial3d synth` and `spatial3d scannet-boxes`: rooms with known objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, progress_bar
from spatial3d_ros.research.cli.places import RayAddress, Workers, end_with_failures, places_of

synth = typer.Typer(no_args_is_help=True, help="Generate rooms with known truth.")


@synth.command()
def refcoco(
    folder: Annotated[Path, typer.Argument(help="Folder for pictures and JSON files.")],
    rooms: Annotated[int, typer.Option(help="Number of rooms, one picture each.", min=1)] = 32,
    seed: Annotated[int, typer.Option(help="The first room.")] = 850_000,
) -> None:
    """Make a set of referring expressions for boxes in pictures, in RefCOCO's format.

    spatial3d synth refcoco pictures --rooms 32
    """
    from spatial3d_ros.research.datasets.refcoco import write_refcoco
    from spatial3d_ros.research.experiments.refcoco import render_refcoco
    from spatial3d_ros.research.rooms.view_store import ViewStore

    store = ViewStore(folder / "rooms", rooms, 1, seed, catalog="alike", objects=(8, 14))
    photographs = render_refcoco(folder, store)
    write_refcoco(folder, photographs, "val")
    count = sum(len(one.references) for one in photographs)
    out.print(f"{folder}: {len(photographs)} pictures, {count} references")


@synth.command()
def room(
    bag: Annotated[Path, typer.Argument(help="Bag to write: a .mcap or .db3 file, or a folder.")],
    seed: Annotated[
        int, typer.Option(help="Room; those from 900000 on are never used in training.")
    ] = 0,
    seconds: Annotated[float, typer.Option(help="Length of the recording.")] = 15.0,
    rate: Annotated[float, typer.Option(help="Images a second.")] = 10.0,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="full: 188 kinds and their looks; basic: 29 kinds. "
            "Default: what the shipped weights know."
        ),
    ] = None,
    path: Annotated[str, typer.Option(help="Camera path: robot or hand.")] = "robot",
    storage: Annotated[str, typer.Option(help="mcap or sqlite3, for a bag folder.")] = "mcap",
    compressed: Annotated[bool, typer.Option(help="JPEG colour and PNG depth.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bag.")] = False,
) -> None:
    """Record a generated room with a simulated noisy RGB-D camera; write a bag and its truth.

    The folder of the bag also gets `NAME.truth.json` (objects with boxes, and their pixels in each
    frame) and `NAME.queries.yaml` (questions and layout edits with their answers).

        spatial3d synth room room.mcap --seed 900001 --path hand
    """
    from spatial3d_ros.model.checkpoint import CONFIG, model_folder
    from spatial3d_ros.model.config import load_config
    from spatial3d_ros.research.evaluation.layout import layout_questions
    from spatial3d_ros.research.evaluation.room_queries import (
        ROOM_KINDS,
        draw_questions,
        queries_file,
        write_queries,
    )
    from spatial3d_ros.research.evaluation.room_tasks import EDITS
    from spatial3d_ros.research.rooms.catalog import catalog_of, parse_catalog
    from spatial3d_ros.research.rooms.recorded_rooms import record_room, truth_file

    known = load_config(model_folder("tiny") / CONFIG).names.classes
    chosen = parse_catalog(catalog) if catalog else catalog_of(known)
    with progress_bar("frames") as progress:
        made = record_room(
            bag, seed, seconds=seconds, rate_hz=rate, path=path, storage=storage, catalog=chosen,
            compressed=compressed, progress=progress, overwrite=overwrite,
        )  # fmt: skip
    queries = queries_file(bag)
    edits = layout_questions(made.room, made.seen(), seed, EDITS)
    write_queries(queries, draw_questions(made.seen(), seed, ROOM_KINDS), made.room, edits)
    out.print(
        f"{bag}: {len(made.stamps_ns)} frames of a room with {len(made.room.objects)} objects\n"
        f"{truth_file(bag)}\n{queries}",
        soft_wrap=True,
    )


@synth.command()
def scannet(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    train: Annotated[int, typer.Option(min=1, help="Scenes for training.")] = 4,
    val: Annotated[int, typer.Option(min=1, help="Scenes for validation, other rooms.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Exported frames of a scene.")] = 12,
    questions: Annotated[
        int, typer.Option(min=1, help="Questions of each data set about a scene, at most.")
    ] = 8,
    width: Annotated[int, typer.Option(min=32, help="Width of the images; height is 3/4.")] = 320,
    seed: Annotated[int, typer.Option(help="The first room of training.")] = 0,
    catalog: Annotated[str, typer.Option(help="full: 188 kinds; basic: 29 kinds.")] = "full",
) -> None:
    """Write generated rooms in ScanNet's layout, with questions in the formats of ScanRefer,
    Nr3D, Sr3D, Multi3DRefer, ScanQA and SQA3D, and proposals in that of Mask3D.

    For trying every step of docs/LARGE_NETWORK.md without the licensed data.

        spatial3d synth scannet runs/scannet --train 8 --val 2
    """
    from spatial3d_ros.research.language.scannet_files import write_scannet
    from spatial3d_ros.research.rooms.catalog import parse_catalog

    with progress_bar("scenes") as progress:
        written = write_scannet(
            folder, train=train, val=val, seed=seed, frames=frames, questions=questions,
            size=(width, width * 3 // 4), catalog=parse_catalog(catalog), progress=progress,
        )  # fmt: skip
    counts = ", ".join(f"{len(scans)} for {split}" for split, scans in written.items())
    out.print(f"{folder}: scenes {counts}", soft_wrap=True)


@synth.command()
def views(
    config: Annotated[Path, typer.Argument(help="Training configuration, config/train/*.yaml.")],
    workers: Workers = 1,
    ray: RayAddress = None,
) -> None:
    """Render the rooms that a training configuration reads, before it starts. Rooms that are
    there are kept. With --ray, `rendered.folder` must be one that all machines share.

        spatial3d synth views config/train/joint.yaml --workers 8

        spatial3d synth views config/train/joint.yaml --ray auto
    """
    from spatial3d_ros.research.spread import spread
    from spatial3d_ros.research.training.config import load_train_config
    from spatial3d_ros.research.training.setup import room_stores

    failed: dict[int, str] = {}
    for store in room_stores(load_train_config(config)):
        if store is None:
            raise typer.BadParameter(f"{config} reads no rendered rooms (rendered.batch is 0)")
        with progress_bar("rooms") as progress:
            made = spread(store.render, store.missing, places_of(workers, ray), progress=progress)
        out.print(f"{store.folder}: {len(made.results)} rooms rendered", soft_wrap=True)
        failed |= made.failed
    end_with_failures(failed)


def scannet_boxes(
    scenes: Annotated[list[Path], typer.Argument(help="Folders of ScanNet scenes.")],
    boxes: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("rooms.jsonl"),
    proposals: Annotated[
        Path | None,
        typer.Option(help="Write a detector's boxes instead: a folder of Mask3D, or a file."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Best-scored proposals of a scene.")] = 50,
    label_table: Annotated[
        Path | None, typer.Option(help="scannetv2-labels.combined.tsv, for names of label ids.")
    ] = None,
    label_ids: Annotated[
        str, typer.Option(help="What label ids are: nyu40, or scannet200 (first column).")
    ] = "nyu40",
) -> None:
    """Annotated objects of ScanNet scenes as rooms of boxes, for `spatial3d evaluate --objects`;
    or a detector's proposals, for `--detections` and, read much faster, `--proposals`.

    spatial3d scannet-boxes scans/scene0011_00 scans/scene0011_01 --out rooms.jsonl

    spatial3d scannet-boxes scans/* --proposals mask3d --out proposals.jsonl
    """
    from spatial3d_ros.research.datasets.boxes_only import write_box_rooms
    from spatial3d_ros.research.datasets.label_classes import read_label_names
    from spatial3d_ros.research.datasets.proposals import ProposalReader
    from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects

    if proposals is None:
        rooms = [read_scannet_objects(scene) for scene in scenes]
    else:
        names = read_label_names(label_ids, label_table) if label_table else {}
        folders = {scene.resolve().parent for scene in scenes}
        if len(folders) > 1:
            raise typer.BadParameter("give scenes of one folder")
        reader = ProposalReader(proposals, folders.pop(), top, names=names)
        rooms = [*reader.read([scene.name for scene in scenes]).values()]
    write_box_rooms(boxes, rooms)
    count = sum(len(room.objects) for room in rooms)
    out.print(f"{boxes}: {len(rooms)} scenes, {count} objects", soft_wrap=True)
