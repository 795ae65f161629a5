"""`spatial3d demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.convert import four_numbers
from spatial3d_ros.cli.output import out as stdout
from spatial3d_ros.cli.output import print_status, progress_bar
from spatial3d_ros.cli.topics import reads_recording
from spatial3d_ros.errors import NotAvailableError

if TYPE_CHECKING:
    from spatial3d_ros.demo.demo import DemoResult, PreparedRoom


def prepare_room(out: Path, bag: Path | None, *_: Any) -> PreparedRoom | None:
    """The room to play and its questions; research replaces this function (`research.cli`)."""
    if bag is None:
        raise NotAvailableError(
            "a generated room needs pip install 'spatial3d_ros[research]'; or give --bag and "
            "--question"
        )
    return None


@reads_recording
def demo(
    bag: Annotated[
        Path | None,
        typer.Option(help="A recording of your own; without it a generated room is recorded."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="A folder of RGB-D images instead: converted and mapped, without ROS."),
    ] = None,
    intrinsics: Annotated[
        str | None, typer.Option(help="FX,FY,CX,CY of --folder, where it has no calibration.")
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option("--question", "-q", help="Ask this; repeat for more.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="File of questions: a line each, or YAML with `queries`.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("demo_out"),
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    seed: Annotated[int, typer.Option(help="Which generated room.")] = 900_012,
    *,
    options: RecordingOptions,
) -> None:
    """Play a recorded room into the running nodes, ask questions, and write a report.

    Starts the grounding node, the visualizer node and a bag player as separate processes, asks
    through the services and the action while frames keep arriving, and writes `index.html` with
    figures, and `answers.json`. Exit code 0 if all questions were answered or, in a generated
    room, if three of five answers are right.

        spatial3d demo

        spatial3d demo --folder my_frames/ --recogniser models/dfine_small_obj365

        spatial3d demo --bag kitchen.mcap -q "where is the sofa?" --out kitchen_out
    """
    from spatial3d_ros.demo.processes import require_ros
    from spatial3d_ros.demo.question_file import read_questions
    from spatial3d_ros.demo.report import answers_table, right_count

    asked = [*(question or []), *(read_questions(questions) if questions else [])]
    if folder is not None:
        result = _folder_demo(folder, out, asked, options, intrinsics, model)
    else:
        require_ros()
        result = _node_demo(out, bag, asked, options, model, seed)
    stdout.print(answers_table(result.rows))
    judged = [row for row in result.rows if row.right is not None]
    if judged:
        stdout.print(f"[bold]{right_count(judged)} of {len(judged)} right[/]")
    stdout.print(f"[bold]report[/] {result.page}", soft_wrap=True)
    if not result.worked:
        raise typer.Exit(1)


def _folder_demo(
    folder: Path,
    out: Path,
    asked: list[str],
    options: RecordingOptions,
    intrinsics: str | None,
    model: str,
) -> DemoResult:
    from spatial3d_ros.demo.folder_demo import run_folder_demo

    camera = four_numbers(intrinsics) if intrinsics else None
    with progress_bar("mapping the images") as progress:
        return run_folder_demo(
            folder, out, asked, options=options, intrinsics=camera, model=model,
            say=print_status, progress=progress,
        )  # fmt: skip


def _node_demo(
    out: Path, bag: Path | None, asked: list[str], options: RecordingOptions, model: str, seed: int
) -> DemoResult:
    from spatial3d_ros.demo.demo import run_demo

    with progress_bar("frames") as progress:
        room = prepare_room(out, bag, seed, model, print_status, progress)
    with progress_bar("seconds of playing and asking") as progress:
        return run_demo(
            out, bag=bag, room=room, questions=asked, model=model, options=options,
            print_status=print_status, progress=progress,
        )  # fmt: skip
