"""`spatial3d evaluate`: accuracy, by kind of question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import err, out, print_json, print_status, progress_bar
from spatial3d_ros.research.cli import (
    evaluate_benchmarks,
    evaluate_public,
    evaluate_refcoco,
    evaluate_sessions,
)
from spatial3d_ros.research.cli.evaluate_bag import COMMAND, BagByDefault, evaluate_bag
from spatial3d_ros.research.cli.evaluate_bags import SEVERAL, evaluate_bags
from spatial3d_ros.research.cli.places import RayAddress, Workers, end_with_failures, places_of
from spatial3d_ros.research.spread import join, rank

app = typer.Typer(cls=BagByDefault, no_args_is_help=True, help="Measure accuracy.")
app.command(COMMAND)(evaluate_bag)
app.command(SEVERAL)(evaluate_bags)
app.command("referit3d")(evaluate_benchmarks.referit3d)
app.command("scanrefer")(evaluate_benchmarks.scanrefer)
app.command("sr3d-style")(evaluate_benchmarks.sr3d_style)
app.command("multi3drefer")(evaluate_public.multi3drefer)
app.command("scanqa")(evaluate_public.scanqa)
app.command("sqa3d")(evaluate_public.sqa3d)
app.command("scan2cap")(evaluate_public.scan2cap)
app.command("distance")(evaluate_public.distance)
app.command("refcoco")(evaluate_refcoco.refcoco)
app.command("sessions")(evaluate_sessions.sessions)


@app.callback()
def evaluate() -> None:
    """Measure accuracy on data with a known truth."""
    number, count = rank()
    if count > 1:
        join()
        out.quiet = err.quiet = number > 0  # one process of torchrun prints the table


Recordings = Annotated[Path, typer.Option(help="Folder for recordings.")]
FOLDER = Path("runs/evaluation")


@app.command()
def wordings(
    rooms: Annotated[int, typer.Option(help="Number of rooms.")] = 15,
    seed: Annotated[
        int, typer.Option(help="The first room; rooms from 900000 on are held out.")
    ] = 900_000,
    tasks: Annotated[
        str, typer.Option(help="all, or some of grounding, distance, layout, ask, caption.")
    ] = "all",
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    folder: Recordings = FOLDER,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare prompt styles on true boxes: one template for each task, sentences of training,
    held-out sentences, and held-out sentences as typed in a hurry (without most articles and
    punctuation, with typing errors).

        spatial3d evaluate wordings --rooms 15
    """
    from spatial3d_ros.research.evaluation.style_comparison import compare_styles, styles_table

    with progress_bar("rooms") as progress:
        reports = compare_styles(
            rooms=rooms, seed=seed, model=model, tasks=tasks, folder=folder, say=print_status,
            progress=progress,
        )  # fmt: skip
    if json:
        print_json(reports)
    else:
        out.print(styles_table(reports))


@app.command()
def rooms(
    rooms: Annotated[int, typer.Option(help="Number of rooms.")] = 15,
    seed: Annotated[
        int, typer.Option(help="The first room; rooms from 900000 on are held out.")
    ] = 900_000,
    true_boxes: Annotated[
        bool, typer.Option("--true-boxes", help="True boxes instead of the built-in proposals.")
    ] = False,
    through_ros: Annotated[
        bool, typer.Option("--through-ros", help="Through the running nodes, in real time.")
    ] = False,
    tasks: Annotated[
        str,
        typer.Option(
            help="all, or some of grounding, distance, layout, ask, caption, number (metres "
            "that the network writes), with commas."
        ),
    ] = "grounding,distance",
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    catalog: Annotated[
        str, typer.Option(help="full or basic rooms; by default those that the model knows.")
    ] = "",
    folder: Recordings = FOLDER,
    workers: Workers = 1,
    ray: RayAddress = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate on held-out generated rooms: grounding, distances, layout edits, proposals.

    Each room is recorded along the path of a robot (even seeds) or a hand (odd seeds) with sensor
    and pose noise. Questions use held-out sentences. The same seed gives the same results.

        spatial3d evaluate rooms

        spatial3d evaluate rooms --rooms 5 --true-boxes --json

        spatial3d evaluate rooms --tasks all --true-boxes

        spatial3d evaluate rooms --tasks ask,caption,number --model runs/tiny/model --json

        spatial3d evaluate rooms --rooms 100 --workers 8
    """
    from spatial3d_ros.research.evaluation.rooms import evaluate_rooms
    from spatial3d_ros.research.rooms.catalog import parse_catalog

    with progress_bar("rooms") as progress:
        report = evaluate_rooms(
            rooms=rooms, seed=seed, true_boxes=true_boxes, through_ros=through_ros, model=model,
            tasks=tasks, folder=folder, say=print_status, progress=progress,
            catalog=parse_catalog(catalog) if catalog else None, places=places_of(workers, ray),
        )  # fmt: skip
    if json:
        print_json(report.json())
    else:
        out.print(report.table())
        edits = report.edits_table()
        if edits is not None:
            out.print(edits)
    end_with_failures(report.failed)


@app.command()
def resolution(
    rooms: Annotated[int, typer.Option(help="Number of rooms.")] = 12,
    seed: Annotated[
        int, typer.Option(help="The first room; rooms from 900000 on are held out.")
    ] = 900_000,
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    folder: Recordings = FOLDER,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What network, label, color and geometry bring when a description is resolved on maps of the
    built-in proposals, and whether confidences are probabilities.

        spatial3d evaluate resolution --rooms 12
    """
    from spatial3d_ros.research.experiments.resolution import evaluate_resolution

    report = evaluate_resolution(
        rooms=rooms, seed=seed, model=model, folder=folder, say=print_status
    )
    if json:
        print_json(report.json())
    else:
        out.print(report.table())
