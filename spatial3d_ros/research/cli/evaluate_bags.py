"""`spatial3d evaluate bags`, which `spatial3d evaluate A.mcap B.mcap` also means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_json, print_status, progress_bar
from spatial3d_ros.cli.topics import reads_recording
from spatial3d_ros.research.cli.places import RayAddress, Workers, end_with_failures, places_of

SEVERAL = "bags"


@reads_recording
def evaluate_bags(
    bags: Annotated[list[Path], typer.Argument(help="Recordings, as of `evaluate bag`.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the reports.")] = Path(
        "evaluation_out"
    ),
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    workers: Workers = 1,
    ray: RayAddress = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    options: RecordingOptions,
) -> None:
    """Replay many bags and report one table: each bag with the questions and true objects beside it
    (NAME.queries.yaml, NAME.names.yaml). Topics are those of the options, or found in each bag.

    Each bag has its report.json in the folder. A bag that fails is tried once more and then named.

        spatial3d evaluate drives/*.mcap --workers 4

        spatial3d evaluate drives/*.mcap --ray auto --json
    """
    from spatial3d_ros.research.evaluation.many_bags import replay_bags

    with progress_bar("bags") as progress:
        report = replay_bags(
            bags, folder, options=options, model=model, device=device,
            places=places_of(workers, ray), say=print_status, progress=progress,
        )  # fmt: skip
    if json:
        print_json(report.json())
    else:
        out.print(report.table())
    end_with_failures(report.failed)
