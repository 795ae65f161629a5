"""`spatial3d curves`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, say


def curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders that trainings wrote to.")],
    picture: Annotated[Path, typer.Option("--out", help="PNG to write.")] = Path("curves.png"),
    title: Annotated[str, typer.Option(help="Over the picture.")] = "Learning curves",
) -> None:
    """Draw the learning curves of trainings, finished or not; held-out accuracies as Markdown.

    spatial3d curves runs/tiny

    spatial3d curves runs/tiny runs/wider --out docs/images/curves.png
    """
    from spatial3d_ros.evaluation.curves import curves_table, draw_curves, read_run

    read = [read_run(folder) for folder in runs]
    out.print(curves_table(read), soft_wrap=True, markup=False)
    say(f"open {draw_curves(read, picture, title)}")
