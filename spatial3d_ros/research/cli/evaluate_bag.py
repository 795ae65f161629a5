"""`spatial3d evaluate bag`, which `spatial3d evaluate BAG` also means."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_json, print_status, progress_bar
from spatial3d_ros.cli.topics import reads_recording
from spatial3d_ros.research.cli.evaluate_bags import SEVERAL

COMMAND = "bag"
BAG_SUFFIXES = (".mcap", ".db3", ".bag")


class BagByDefault(TyperGroup):
    """A group of commands in which recordings in place of a command mean `bag RECORDING` or `bags
    RECORDINGS`.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Put the command before arguments that begin with a recording, or with an option."""
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            if _is_recording(first) and len(args) > 1 and _is_recording(args[1]):
                args = [SEVERAL, *args]
            elif first.startswith("-") or _is_recording(first):
                args = [COMMAND, *args]
        return super().parse_args(ctx, args)


def _is_recording(word: str) -> bool:
    path = Path(word)
    return (
        not word.startswith("-") and bool(word) and (path.suffix in BAG_SUFFIXES or path.exists())
    )


@reads_recording
def evaluate_bag(
    bag: Annotated[Path, typer.Argument(help="A bag folder, .mcap, .db3, or .bag of ROS 1.")],
    queries: Annotated[
        Path | None, typer.Option(help="YAML file of questions, with or without truth.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="YAML file of true objects, to compare the map with.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path(
        "evaluation_out"
    ),
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    through_ros: Annotated[
        bool, typer.Option("--through-ros", help="Through the running nodes, in real time.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Write report.html.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    *,
    options: RecordingOptions,
) -> None:
    """Replay a bag, ask the questions of a file on its way, and report.

    The engine of the node answers, in this process and in the order of the recording: the same bag,
    questions and weights give the same report, but for latencies. Topics are guessed from types and
    names; where several fit they are listed, and you name one. Written are report.json, report.html
    and its pictures.

        spatial3d evaluate room.mcap --queries room.queries.yaml

        spatial3d evaluate room.mcap --names room.names.yaml

        spatial3d evaluate bag drive.bag --queries q.yaml --pose /tf --depth /cam/depth/image --json

    The file of questions; lengths are metres, `at` is seconds from the bag's first message or
    `end`, `expect` may be left out:

        frame_id: map
        queries:
          - {id: q1, kind: ground, at: end, text: "the blue chair closest to the table",
             expect: {center: [1.2, 0.4, 0.5], size: [0.5, 0.5, 1.0]}}
          - {id: q2, kind: distance, at: 12.5, text: "how far is the lamp from the sofa",
             expect: {distance: 2.31, measure: center}}
          - {id: q3, kind: ask, at: end, text: "what colour is the lamp", expect: {text: [blue]}}
          - {id: q4, kind: layout, at: end, text: "move the chair 0.5 m towards the window",
             expect: {before: {center: [1.2, 0.4, 0.5], size: [0.5, 0.5, 1.0]},
                      after: {center: [1.7, 0.4, 0.5], size: [0.5, 0.5, 1.0]}}}
          - {id: q5, kind: layout, at: end, text: "put the bed on the lamp",
             expect: {possible: false}}

    The file of true objects: how many are found (IoU 0.25) and named right, and how many boxes the
    map has for each:

        frame_id: map
        objects:
          - {label: chair, what: at the window, center: [1.2, 0.4, 0.5], size: [0.5, 0.5, 1.0]}
    """
    from spatial3d_ros.research.evaluation.replay import replay_bag
    from spatial3d_ros.research.evaluation.reports.replay_report import ReplayReport

    with progress_bar("frames") as progress:
        replay = replay_bag(
            bag, queries, names=names, options=options, model=model, device=device,
            through_ros=folder if through_ros else None,
            say=print_status, progress=progress,
        )  # fmt: skip
    report = ReplayReport.of(replay)
    if pictures:
        print_status("drawing the pictures")
    page = report.write(folder, pictures=pictures)
    for problem in replay.recording.get("problems", []):
        print_status(problem)
    if json:
        print_json(json_module.loads((folder / "report.json").read_text()))
    else:
        out.print(report.table())
        print_status(f"open {page}")
